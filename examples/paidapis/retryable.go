package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// fetchRetryable pays for a document. go-retryablehttp repeats a request four times after a broken connection, 429 and
// 5xx. The guard goes beneath it, as the transport of its HTTPClient. Above it, with go-retryablehttp as the guard's
// Next, one approval would cover all attempts, and each that is answered could be charged.
func fetchRetryable(ctx context.Context, address string, guard http.RoundTripper) error {
	client := retryablehttp.NewClient()
	client.HTTPClient = &http.Client{Transport: guard}
	client.Logger = nil
	client.RetryWaitMin, client.RetryWaitMax = 10*time.Millisecond, 50*time.Millisecond // for the example's sake
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, address+"/documents/17", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
