package letagentpay

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxRepeatedRequests is how many purchases may follow each other under one idempotency header, each because the one
// before it was not charged.
const maxPurchasesPerHeader = 10

// idempotencyHeader returns the value of a request's Idempotency-Key header, or of X-Idempotency-Key, in any case;
// empty when it has none.
func idempotencyHeader(header http.Header) string {
	for _, want := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		for _, name := range slices.Sorted(maps.Keys(header)) {
			if !strings.EqualFold(name, want) {
				continue
			}
			for _, value := range header[name] {
				if value = strings.TrimSpace(value); value != "" {
					return value
				}
			}
		}
	}
	return ""
}

// keyOfRequest derives the key of a purchase from the request that it pays for: its method, its address without the
// query, the value of its idempotency header, and how many requests under that header have failed before.
func httpRequestKey(request *http.Request, header string, failed int) string {
	method := request.Method
	if method == "" {
		method = http.MethodGet
	}
	return "http-" + encodeDigest(digestOf(
		"letagentpay http request 1", method, strings.ToLower(request.URL.Scheme), strings.ToLower(request.URL.Host),
		request.URL.EscapedPath(), header, strconv.Itoa(failed),
	))
}
