// Command dial connects to an address over TCP, from within a cluster, until that works, or
// does not, three times in a row:
//
//	dial open|closed host:port
//
// Network plugins learn the address of a new pod only some time after it runs. Exit code 0:
// it is so; 3: it was not within half a minute.
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	open, address := os.Args[1] == "open", os.Args[2]
	inARow := 0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		fmt.Printf("%s: %v\n", address, err)
		if (err == nil) != open {
			inARow = 0
		} else if inARow++; inARow == 3 {
			return
		}
	}
	os.Exit(3)
}
