package bboltjournal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/money"
)

// firstForm is an entry as the first version of this package stored it, under the names of Go fields. Such entries stay
// in files until they are settled and pruned. Amount and Success must be present: without them an entry would pass for
// a purchase of nothing, or for one that failed.
type firstForm struct {
	Key      string
	State    string
	Purchase struct {
		Amount         *money.Amount
		Category       string
		Currency       string
		MerchantName   string
		Description    string
		AgentComment   string
		IdempotencyKey string
		Ref            string
	}
	RequestID string
	Category  string // as the service resolved it
	Confirm   struct {
		Success      *bool
		ActualAmount money.Amount
		ReceiptURL   string
	}
	Result     []byte
	Error      string
	UpdatedAt  time.Time
	NewestAt   time.Time
	NewestIDs  []string
	Currency   string // as the service resolved it
	Function   string
	Unclear    bool
	Found      []string
	Duplicates []string
}

// statesOfFirstForm are the states by the names that the first version gave them.
var statesOfFirstForm = map[string]journal.State{
	"asked":    journal.Requested,
	"started":  journal.Started,
	"executed": journal.Returned,
	"settled":  journal.Settled,
}

// decodeFirstForm returns the entry of a key that data holds in the first form.
func decodeFirstForm(key string, data []byte) (*journal.Entry, error) {
	var stored firstForm
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, err
	}
	state, known := statesOfFirstForm[stored.State]
	switch {
	case stored.Key != key:
		return nil, fmt.Errorf("it is the entry of the key %q", stored.Key)
	case !known:
		return nil, fmt.Errorf("its state %q is unknown", stored.State)
	case stored.Purchase.Amount == nil:
		return nil, errors.New("it has no amount")
	case stored.Confirm.Success == nil:
		return nil, errors.New("it does not say how the purchase ended")
	}
	if (state == journal.Returned || state == journal.Settled) && !*stored.Confirm.Success && stored.Error == "" {
		stored.Error = "the reason was not recorded" // which the present form requires
	}
	service, agent := ownerOfFirstForm(key)
	return &journal.Entry{
		Version:          journal.Version,
		Key:              stored.Key,
		Service:          service,
		Agent:            agent,
		State:            state,
		RequestID:        stored.RequestID,
		IdempotencyKey:   stored.Purchase.IdempotencyKey,
		Amount:           *stored.Purchase.Amount,
		Category:         stored.Purchase.Category,
		ResolvedCategory: stored.Category,
		Currency:         stored.Purchase.Currency,
		ResolvedCurrency: stored.Currency,
		MerchantName:     stored.Purchase.MerchantName,
		Description:      stored.Purchase.Description,
		AgentComment:     stored.Purchase.AgentComment,
		Ref:              stored.Purchase.Ref,
		Success:          *stored.Confirm.Success,
		ActualAmount:     stored.Confirm.ActualAmount,
		ReceiptURL:       stored.Confirm.ReceiptURL,
		Result:           stored.Result,
		Error:            stored.Error,
		Function:         stored.Function,
		BaselineAt:       stored.NewestAt,
		BaselineIDs:      stored.NewestIDs,
		Unclear:          stored.Unclear,
		Found:            stored.Found,
		Duplicates:       stored.Duplicates,
		UpdatedAt:        stored.UpdatedAt,
	}, nil
}

// ownerOfFirstForm returns the service and the agent of an entry. The first form has them only in the key, which
// consists of service, agent, kind and name, separated by spaces. Neither service nor agent contains a space.
func ownerOfFirstForm(key string) (service, agent string) {
	service, rest, found := strings.Cut(key, " ")
	if !found {
		return "", ""
	}
	agent, _, found = strings.Cut(rest, " ")
	if !found {
		return service, ""
	}
	return service, agent
}
