package letagentpay

import (
	"encoding/json"
	"net/http"
)

// fate is what is known of an attempt that ended in an error: whether the service may still be at work on it.
type fate int

const (
	// neverArrived: nothing reached the service, and nothing will.
	neverArrived fate = iota
	// ended: the service itself has answered, so it is done with the attempt.
	ended
	// mayStillRun: the service may have taken the attempt and be at work on it, or get to it yet.
	mayStillRun
)

// statusClientClosed is nginx's own status for a client that has hung up.
const statusClientClosed = 499

// fate tells what may have become of the attempt. It says nothing about its effect: an attempt that ended may have
// taken effect, as a 500 may, and one that may still run may never have arrived.
func (e *APIError) fate() fate {
	switch {
	case e.unsent || e.waiting:
		return neverArrived
	case e.StatusCode == http.StatusRequestTimeout || e.StatusCode == statusClientClosed:
		return mayStillRun // somebody on the way has given up
	case gatewayStatus(e.StatusCode):
		return mayStillRun // whatever the body says: the service does not answer so
	case e.explained:
		return ended
	case e.answered && (e.StatusCode/100 == 2 || e.StatusCode/100 == 4):
		return ended
	default:
		return mayStillRun
	}
}

// gatewayStatus reports whether a status is one of those with which a gateway answers for a service that it has not heard
// of. Some of them come with a JSON body and a "detail", as problem details (RFC 9457) have one.
func gatewayStatus(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusGatewayTimeout || status >= 520 && status <= 530 || status >= 598
}

// isObject reports whether data is a JSON object, and whole.
func isObject(data []byte) bool {
	var body map[string]json.RawMessage
	return json.Unmarshal(data, &body) == nil && body != nil
}

// speaksForService reports whether data, which is not what the call asked for, is the service's own word all the same:
// it names a request or says what is wrong. Any other object may come from whatever stands between.
func speaksForService(data []byte) bool {
	var body struct {
		RequestID *string         `json:"request_id"`
		Detail    json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(data, &body) != nil {
		return false
	}
	return body.RequestID != nil && *body.RequestID != "" || len(body.Detail) > 0 && string(body.Detail) != "null"
}
