package main

import (
	"bytes"
	"net/http"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/docs"
)

// documentHandlers returns the handlers of the documents by path.
func documentHandlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/openapi.yaml": document("application/yaml", docs.OpenAPI),
		"/llms.txt":     document("text/plain; charset=utf-8", docs.LLMs),
	}
}

func document(contentType string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuseMethod(w, http.MethodGet, http.MethodHead)
			return
		}
		w.Header().Set("Content-Type", contentType)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
