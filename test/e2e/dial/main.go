// Command dial tries to connect to host:port over TCP: from within a cluster, it tells
// whether a NetworkPolicy lets it. Exit code 0: it did; 3: nobody answered.
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	conn, err := net.DialTimeout("tcp", os.Args[1], 3*time.Second)
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	_ = conn.Close()
}
