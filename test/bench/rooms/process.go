package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticks of CPU in a second, as Linux tells them to programs on every architecture.
const ticks = 100

// cpu is the time that a process has used, user and system.
func cpu(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading a process's time: %w", err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third of proc(5)
	used := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, fmt.Errorf("reading a process's time: %w", err)
		}
		used += n
	}
	return time.Duration(used) * time.Second / ticks, nil
}

// rss is the memory that a process has resident, in bytes.
func rss(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(statm)[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// load is the machine's load average of the last minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return string(bytes.Fields(b)[0])
}
