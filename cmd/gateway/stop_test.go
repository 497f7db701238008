package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, tell := context.WithCancel(t.Context())
		serving, end := lingering(told, time.Minute)
		defer end()
		tell()
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if serving.Err() != nil {
			t.Error("it does not linger")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if serving.Err() == nil {
			t.Error("it serves for ever")
		}
	})
}

// A gateway that failed by itself has nothing to linger for, and leaves nothing behind.
func TestLingeringEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving, end := lingering(t.Context(), time.Minute)
		end()
		if serving.Err() == nil {
			t.Error("it serves on")
		}
	})
}

func TestNotReadyWhileStopping(t *testing.T) {
	stopping := make(chan struct{})
	close(stopping)
	err := (&readiness{stopping: stopping}).check(httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
	if err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("readiness: %v", err)
	}
}
