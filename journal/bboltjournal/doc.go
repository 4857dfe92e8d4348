// Package bboltjournal keeps the journal of guarded purchases in a file, so that a crash at any point neither buys twice
// nor forgets what was approved.
//
//	journal, err := bboltjournal.Open("purchases.journal")
//	if err != nil { … }
//	defer journal.Close()
//
//	interrupted, err := client.Recover(ctx, journal) // once, at start
//	buy := letagentpay.Guard(client, describe, pay, letagentpay.WithJournal(journal))
//
// What is safe and what remains to be decided after a crash is said at [letagentpay.WithJournal] and
// [letagentpay.Client.Recover].
//
// # The file
//
// It is a bbolt database with one entry for each guarded purchase, each with a checksum. Every change is synced to the
// disk before the call returns, so a guarded call costs four syncs. A new file can be read and written by its owner
// alone (mode 0600): it holds what the guarded functions return. No token is in it, only a token's SHA-256 digest.
//
// One process has the file open at a time, and any other gets a [*LockedError]. Several agents, that is several tokens,
// may share the journal of one process. Keep the file on a local disk: file locks and memory maps are not to be relied
// on over network file systems. Copy it only while no process has it open.
//
// Settled entries are kept for 7 days, or as [WithRetention] says, and removed by the next [Open] or by
// [Journal.Prune]. All others stay until they are settled. The file keeps its size and fills the gaps with what comes.
//
// # Damage
//
// Open checks the whole file, and refuses a damaged one with a [*CorruptError], and one that a later version has
// written with a [*VersionError]. A single entry that cannot be decoded does not keep the file from being opened: Get
// and Entries report it with its key, and nothing is bought under that key, until [Journal.Delete] or [Journal.Put]
// replaces it.
package bboltjournal
