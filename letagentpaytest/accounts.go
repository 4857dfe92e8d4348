package letagentpaytest

import (
	"maps"
	"slices"
)

// Accounts returns all accounts, the main one first and the others by name.
func (s *Server) Accounts() []*Account {
	w := s.world.Load()
	accounts := []*Account{{Name: mainName, world: w, account: w.accounts[mainName]}}
	for _, name := range slices.Sorted(maps.Keys(w.accounts)) {
		if name != mainName {
			accounts = append(accounts, &Account{Name: name, world: w, account: w.accounts[name]})
		}
	}
	return accounts
}
