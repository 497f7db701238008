package flight_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"voiceroom.dev/voiceroom/admission/flight"
)

func TestOneRunIsSharedByAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int32](5*time.Second, time.Minute, time.Now)
		var runs atomic.Int32
		release := make(chan struct{})
		results := make(chan int32, 32)
		for range cap(results) {
			go func() {
				v, _ := g.Do(t.Context(), "room", func(context.Context) (int32, error) {
					<-release
					return runs.Add(1), nil
				})
				results <- v
			}()
		}
		synctest.Wait() // one runs, the others wait for it
		close(release)
		for range cap(results) {
			if v := <-results; v != 1 {
				t.Fatalf("a caller got the result of run %d, want the first", v)
			}
		}
	})
}

func TestResultLastsForEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](5*time.Second, time.Minute, time.Now)
		runs := 0
		do := func(key string) int {
			v, err := g.Do(t.Context(), key, func(context.Context) (int, error) {
				runs++
				return runs, errors.New("kept as well")
			})
			if err == nil {
				t.Fatal("the error was lost")
			}
			return v
		}
		for _, step := range []struct {
			after time.Duration
			key   string
			want  int
		}{
			{0, "a", 1}, {4999 * time.Millisecond, "a", 1}, {0, "b", 2}, {time.Millisecond, "a", 3}, {4 * time.Second, "b", 2}, {time.Second, "b", 4},
		} {
			time.Sleep(step.after) // of the bubble's clock
			if got := do(step.key); got != step.want {
				t.Errorf("%v later, key %s: result of run %d, want %d", step.after, step.key, got, step.want)
			}
		}
	})
}

func TestWorkOutlivesItsCallerAndWaitersDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](5*time.Second, 10*time.Second, time.Now)
		leader, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		go func() {
			_, _ = g.Do(leader, "k", func(ctx context.Context) (string, error) {
				<-release
				return "done", ctx.Err()
			})
		}()
		synctest.Wait()
		impatient, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := g.Do(impatient, "k", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("waiter's error is %v, want its own deadline", err)
		}
		cancel()
		close(release)
		v, err := g.Do(t.Context(), "k", func(context.Context) (string, error) { return "another run", nil })
		if v != "done" || err != nil {
			t.Errorf("got %q and %v, want the result of the caller that went away", v, err)
		}
	})
}

func TestTimeoutBoundsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](time.Second, 2*time.Second, time.Now)
		_, err := g.Do(t.Context(), "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want the timeout", err)
		}
	})
}
