package letagentpay

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxFurtherPurchases is how many purchases may follow the first one under one idempotency header, each after the one
// before was not charged.
const maxFurtherPurchases = 10

// idempotencyHeader returns the value of a request's Idempotency-Key header or else of X-Idempotency-Key, whatever the
// case of their names. It returns "" if the request has neither.
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

// httpRequestKey derives the key of a purchase from the request that it pays for: its method, its address without the
// query, the value of its idempotency header, and the number of failed requests under that header.
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
