package journal

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/letagentpay/letagentpay-go/money"
)

// Version is the version of the form in which this package writes entries. Version 1 had no version field and other
// field names; only the module journal/bboltjournal has ever stored it, and reads it.
const Version = 2

// Entry is what a [Store] keeps about one guarded purchase. It encodes to JSON and back without loss; a Store may keep
// it in another form. Fields whose tag has no omitzero are always written, because money depends on them. A Store that
// reads JSON must treat an entry without one of these as damaged.
type Entry struct {
	// Version is the form of the entry: the constant Version. It is set from the beginning.
	Version int `json:"version"`

	// Key names the entry within its Store. It contains the service, the agent, and either the idempotency key or, for
	// a purchase resumed by its id, the request id; it is not to be parsed. Set from the beginning: 1 to 32,768 bytes
	// of UTF-8. Guard's keys are shorter than 1 KiB unless the base URL is long.
	Key string `json:"key"`
	// Service is the address of the service in a form that does not depend on its spelling, such as
	// "https://letagentpay.com:443/api/v1/agent-api". Set from the beginning. An entry without it belongs to no service
	// and is never confirmed.
	Service string `json:"service"`
	// Agent identifies the agent's token: its SHA-256 digest in hexadecimal. Set from the beginning.
	Agent string `json:"agent"`

	// State is how far the purchase has come. Set from the beginning.
	State State `json:"state"`
	// RequestID is the id that the service gave the purchase request. Empty while it is not known; known from Started
	// on.
	RequestID string `json:"request_id,omitzero"`
	// IdempotencyKey is the key that the purchase was requested under. Set from the beginning; empty in the entry of a
	// purchase that was resumed by its id and that the journal had no entry of.
	IdempotencyKey string `json:"idempotency_key,omitzero"`

	// Amount is what was requested, in units of the account's currency, as the caller described it. Set from the
	// beginning, and above zero.
	Amount money.Amount `json:"amount"`
	// Category is the category as the caller described it. Set from the beginning.
	Category string `json:"category,omitzero"`
	// ResolvedCategory is the category that the service filed the purchase under. Empty while it is not known.
	ResolvedCategory string `json:"resolved_category,omitzero"`
	// Currency is the ISO 4217 code as the caller described it. Empty for the account's currency.
	Currency string `json:"currency,omitzero"`
	// ResolvedCurrency is the ISO 4217 code of the account. Empty while it is not known.
	ResolvedCurrency string `json:"resolved_currency,omitzero"`
	// MerchantName is who is paid, as the caller described it. Set from the beginning; may be empty.
	MerchantName string `json:"merchant_name,omitzero"`
	// Description is what is bought, as the caller described it. Set from the beginning; may be empty.
	Description string `json:"description,omitzero"`
	// AgentComment is the explanation for the human who reviews the purchase. Set from the beginning; may be empty.
	AgentComment string `json:"agent_comment,omitzero"`
	// Ref is the caller's name for the purchase within its scope. Guard leaves it empty, because IdempotencyKey names
	// the purchase; entries of the first form can have it.
	Ref string `json:"ref,omitzero"`

	// Success reports, from Returned on, that the money was spent. If it is false then, the whole amount returns to the
	// budget. Before Returned it is false and means nothing.
	Success bool `json:"success"`
	// ActualAmount is what was really paid, in units of the account's currency, from Returned on. Zero means Amount, or
	// nothing if Success is false.
	ActualAmount money.Amount `json:"actual_amount"`
	// ReceiptURL is the address of the receipt, from Returned on. May be empty.
	ReceiptURL string `json:"receipt_url,omitzero"`
	// Result is what the function returned, encoded, from Returned on: at most 64 KiB. Nil if it could not be kept,
	// which differs from an empty result.
	Result []byte `json:"result,omitzero"`
	// Error is the text of the function's error, or the reason why it did not run, from Returned on. Empty if it
	// returned without an error, never empty if Success is false. In Started it is the text of an error that can hide a
	// payment. It has at most 64 KiB and three bytes.
	Error string `json:"error,omitzero"`
	// Function is the name of the guarded function and the type of its result, so that no other function gets the
	// result. Set from the beginning; empty for a purchase made with Client.Authorize.
	Function string `json:"function,omitzero"`

	// BaselineAt is when the service created the agent's newest request before the purchase was first requested, and
	// BaselineIDs are the ids of all requests created at that instant. A request that is newer can be this purchase's;
	// an older one cannot. Set from the beginning; zero if there was no request, or the idempotency key was random.
	BaselineAt  time.Time `json:"baseline_at"`
	BaselineIDs []string  `json:"baseline_ids,omitzero"`

	// Unclear reports that an attempt to request the purchase got no answer, so that it may have made a request.
	// Recover resets it when no more requests can come.
	Unclear bool `json:"unclear,omitzero"`
	// Found are the ids of requests that may be the purchase. Set in Requested while RequestID is not known; else nil.
	Found []string `json:"found,omitzero"`
	// Duplicates are the ids of further requests of the purchase, which hold money. Set in any state in which RequestID
	// is known; nil if there are none.
	Duplicates []string `json:"duplicates,omitzero"`

	// UpdatedAt is when the entry was written, by the clock of the process that wrote it. Set from the beginning.
	UpdatedAt time.Time `json:"updated_at"`
}

// maxKey is the number of bytes of the longest key.
const maxKey = 32 << 10

// Validate returns an [*EntryError] if e lacks what money depends on, contradicts itself, or was written in another
// form, so that it must be neither stored nor acted on. It cannot notice a field that was lost on the way and whose
// zero value makes sense: an entry read from JSON needs every field that is always written; see [Entry].
func (e *Entry) Validate() error {
	switch {
	case e.Version != Version:
		return &EntryError{"Version", strconv.Itoa(e.Version), "want " + strconv.Itoa(Version)}
	case e.Key == "" || len(e.Key) > maxKey || !utf8.ValidString(e.Key): // JSON would change other bytes
		return &EntryError{"Key", shortened(e.Key), "want 1 to " + strconv.Itoa(maxKey) + " bytes of UTF-8"}
	case e.State != Requested && e.State != Started && !e.State.hasOutcome():
		return &EntryError{"State", shortened(string(e.State)), "want one of the states of package journal"}
	case e.Amount.Sign() <= 0:
		return &EntryError{"Amount", e.Amount.String(), "want an amount above zero"}
	case e.ActualAmount.Sign() < 0:
		return &EntryError{"ActualAmount", e.ActualAmount.String(), "want zero or more"}
	case e.State.hasOutcome() && !e.Success && !e.ActualAmount.IsZero():
		return &EntryError{"ActualAmount", e.ActualAmount.String(), "want zero if Success is false"}
	case e.State.hasOutcome() && !e.Success && e.Error == "": // so that a lost Success is not a refund
		return &EntryError{"Error", "", "want a text if Success is false"}
	}
	return nil
}

// shortened returns the beginning of a text that an error quotes.
func shortened(text string) string { return text[:min(len(text), 80)] }

// EntryError reports a field of an [Entry] that [Entry.Validate] refuses.
type EntryError struct {
	Field  string // the field's name in Go
	Value  string // the value refused, shortened when long
	Reason string // what is accepted instead
}

func (e *EntryError) Error() string {
	text := "journal: invalid Entry"
	if e.Field != "" {
		text += "." + e.Field
	}
	if e.Value != "" {
		text += " " + strconv.Quote(e.Value)
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}
