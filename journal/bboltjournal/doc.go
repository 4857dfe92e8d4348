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
// disk before the call returns, so a guarded call costs four syncs. An entry takes up to 16 MiB, and a larger one is
// refused. No token is in the file, only a token's SHA-256 digest.
//
// The file holds what the guarded functions return, so it is its owner's alone (mode 0600): a new one is made so, and
// [Open] changes the mode of an old one. A file of another user, and one whose mode cannot be changed, are refused with
// an [*UnsafeError], also when the process runs as root. Symbolic links are followed, and all this holds for the file
// they lead to. Windows has no such modes: there the folder decides who may read the file.
//
// The file's folder should be one that only the agent's user may write to, which is not checked. Whoever may write to
// it can remove the journal between two runs, and with it the knowledge of what was bought. Whoever had the file open
// before its mode was changed still has it open.
//
// While the file is open, each call checks that it is still the one at its path, and otherwise returns a
// [*ReplacedError] without writing, so that no guarded function runs. Noticed are a file that was removed or moved,
// another that was renamed over it, and a link that was changed; a file that was cut short is a [*CorruptError]. Other
// changes of the content from outside are not noticed while the file is open. To rotate it, close the journal first.
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
// written with a [*VersionError]. A single entry that cannot be decoded does not keep the file from being opened. Get
// and Entries report it as a [*CorruptError] with its key, Entries then continues with the next, and nothing is bought
// under that key until [Journal.Delete] or [Journal.Put] replaces it. An entry that does not say what money depends on,
// the amount and how the purchase ended, is damaged: it never passes for a purchase that failed.
package bboltjournal
