package httpapi

import (
	"context"
	"net/http"
	"testing"
)

// TestOneBundleAtATime: a second one is refused while the first is made, and the next one is not.
func TestOneBundleAtATime(t *testing.T) {
	t.Parallel()
	begun, free := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(cfg *Config) {
		cfg.Support = func(context.Context) ([]byte, error) {
			begun <- struct{}{}
			<-free
			return []byte("bundle"), nil
		}
	}).opened()
	ask := func() int {
		res, err := http.Get("http://" + f.OperatorAddr().String() + "/support-bundle")
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	first := make(chan int, 1)
	for range 2 {
		go func() { first <- ask() }()
		<-begun
		if got := ask(); got != http.StatusConflict {
			t.Errorf("a second one: %d", got)
		}
		free <- struct{}{}
		if got := <-first; got != http.StatusOK {
			t.Errorf("the first one: %d", got)
		}
	}
}

// TestBundleIsForOperators: the API's listener does not know bundles.
func TestBundleIsForOperators(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *Config) {
		cfg.Support = func(context.Context) ([]byte, error) { return []byte("bundle"), nil }
	}).opened()
	res, err := http.Get("http://" + f.Addr().String() + "/support-bundle")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("%d", res.StatusCode)
	}
}
