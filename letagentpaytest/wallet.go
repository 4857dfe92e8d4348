package letagentpaytest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

// wallet is an address registered for one chain.
type wallet struct {
	address, chain string
	provider       *string
	created        time.Time
}

type walletBody struct {
	address, chain string
	provider       *string
}

func parseWallet(body payload) (walletBody, *answer) {
	var b walletBody
	f := newForm(body)
	if f.broken() {
		return b, f.refusal()
	}
	b.address = f.requiredText("wallet_address", textRule{min: 1, max: 64, convert: checkAddress})
	b.chain = f.requiredText("chain", textRule{max: 20, convert: checkWalletChain})
	b.provider = f.optionalText("wallet_provider", textRule{max: 50})
	return b, f.refusal()
}

// checkAddress returns an address without surrounding spaces, or what is wrong with it. The service expects the form of
// an EVM address on every chain, because it reads the address before the chain.
func checkAddress(address string) (normal, complaint string) {
	address = trimSpace(address)
	if !addressPattern.MatchString(address) {
		return "", "Invalid EVM wallet address format"
	}
	return address, ""
}

func checkWalletChain(chain string) (normal, complaint string) {
	chain = trimSpace(strings.ToLower(chain))
	if !slices.Contains(walletChains, chain) {
		return "", "Unsupported chain: " + chain
	}
	return chain, ""
}

func (s *Server) registerWallet(x *exchange, b walletBody) *answer {
	a := x.agent
	if slices.ContainsFunc(a.wallets, func(w wallet) bool { return w.chain == b.chain }) {
		return errorAnswer(http.StatusConflict, "Wallet already registered for chain "+b.chain)
	}
	w := wallet{
		address:  b.address,
		chain:    b.chain,
		provider: b.provider,
		created:  x.now,
	}
	a.wallets = append(a.wallets, w)
	return jsonAnswer(http.StatusCreated, w.result())
}

func (s *Server) listWallets(x *exchange) *answer {
	results := make([]api.X402Wallet, len(x.agent.wallets))
	for i, w := range x.agent.wallets {
		results[i] = w.result()
	}
	return jsonAnswer(http.StatusOK, results)
}

func (w wallet) result() api.X402Wallet {
	return api.X402Wallet{
		WalletAddress:  w.address,
		Chain:          w.chain,
		WalletProvider: w.provider,
		IsActive:       true,
		CreatedAt:      api.Time{Time: w.created},
	}
}
