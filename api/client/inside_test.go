package client_test

import (
	"io"
	"net/http"
	"sync"
)

// inside is a transport that calls a handler in this process, without sockets: on a simulated clock
// a socket would never be ready.
type inside struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper. The body streams through a pipe.
func (in inside) RoundTrip(r *http.Request) (*http.Response, error) {
	body, end := io.Pipe()
	w := &piped{header: http.Header{}, body: end, begun: make(chan int, 1)}
	go func() {
		in.handler.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK)
		_ = end.Close() // a pipe's end never fails to close
	}()
	stop := make(chan struct{})
	go func() {
		select {
		case <-r.Context().Done():
			_ = end.CloseWithError(r.Context().Err())
		case <-stop:
		}
	}()
	select {
	case status := <-w.begun:
		return &http.Response{StatusCode: status, Proto: "HTTP/2.0", ProtoMajor: 2, Header: w.header.Clone(), Trailer: http.Header{}, Body: &ended{body, sync.OnceFunc(func() { close(stop) })}, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

type ended struct {
	*io.PipeReader
	stop func()
}

// Close implements io.Closer.
func (e *ended) Close() error {
	e.stop()
	return e.PipeReader.Close()
}

// piped is the handler's end.
type piped struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan int
}

// Header implements http.ResponseWriter.
func (w *piped) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *piped) WriteHeader(status int) { w.once.Do(func() { w.begun <- status }) }

// Write implements http.ResponseWriter.
func (w *piped) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush implements http.Flusher.
func (w *piped) Flush() { w.WriteHeader(http.StatusOK) }
