package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// fetchRetryable pays for a document. The guard goes below go-retryablehttp, as the transport of its HTTPClient. Above
// it, with go-retryablehttp as the guard's Next, one approval would cover all attempts, and the API could charge each.
//
// go-retryablehttp retries a request up to four times, after a broken connection, 429 and 5xx.
func fetchRetryable(ctx context.Context, address string, guard http.RoundTripper) error {
	client := retryablehttp.NewClient()
	client.HTTPClient = &http.Client{Transport: guard}
	client.Logger = nil
	client.RetryWaitMin, client.RetryWaitMax = 10*time.Millisecond, 50*time.Millisecond // short, for the example
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
