// Package bboltjournal keeps the journal of guarded purchases in a file, so that a crash at any point neither buys
// twice nor loses what was approved.
//
//	journal, err := bboltjournal.Open("purchases.journal")
//	if err != nil {
//		return err
//	}
//	defer journal.Close()
//
//	interrupted, err := client.Recover(ctx, journal) // once, at start
//	buy := letagentpay.Guard(client, describe, pay, letagentpay.WithJournal(journal))
//
// [letagentpay.WithJournal] and [letagentpay.Client.Recover] describe what is safe after a crash and what remains to be
// decided.
//
// # The file
//
// The file is a bbolt database with one entry for each guarded purchase, each with a checksum. Every change is synced
// to the disk before the call returns. A guarded call that is approved at once costs four such writes. An entry may
// have up to 16 MiB when encoded; a larger one is refused. The file holds no token, only a token's SHA-256 digest.
//
// The file holds what the guarded functions return, so only its owner may read it (mode 0600): [Open] creates a new
// file with this mode and changes the mode of an existing one. A file of another user, and one whose mode cannot be
// changed, are refused with an [*UnsafeError], also when the process runs as root. Symbolic links are followed, and all
// this holds for the file they lead to. Windows has no such modes: there the folder decides who may read the file.
//
// Keep the file in a folder that only the agent's user may write to; this is not checked. A user who may write to the
// folder can remove the journal between two runs, and with it the record of what was bought. A process that opened the
// file before its mode was changed still has it open.
//
// While the file is open, each call checks that it is still the one at its path. If it is not, the call writes nothing
// and returns a [*ReplacedError], so that no guarded function runs. This covers a file that was removed or moved,
// another that was renamed over it, and a link that was changed; a file that was cut short is a [*CorruptError]. Other
// changes of the content from outside are not noticed while the file is open. To rotate the file, close the journal
// first.
//
// One process has the file open at a time; any other gets a [*LockedError]. Several agents, each with its own token,
// may share the journal of one process. Keep the file on a local disk: file locks and memory maps are unreliable on
// network file systems. Copy it only while no process has it open.
//
// Settled entries are kept for 7 days, unless [WithRetention] sets another time, and are removed by the next [Open] or
// by [Journal.Prune]. All other entries stay until they are settled. The file does not shrink; new entries fill the
// gaps.
//
// Open upgrades a file of an earlier version in one transaction, so a crash leaves the old file or the upgraded one.
// The entries stay as they are until they are written again. An earlier version of this package refuses an upgraded
// file.
//
// # Damage
//
// Open checks the whole file. It refuses a damaged file with a [*CorruptError], and one that a later version has
// written with a [*VersionError]. A single entry that cannot be decoded does not prevent Open from opening the file.
// Get and Entries report such an entry as a [*CorruptError] with its key, and Entries continues with the next one.
// Nothing is bought under that key until [Journal.Delete] removes the entry or [Journal.Put] replaces it. An entry
// without a field that money depends on, such as the amount or the outcome, is damaged: it never passes for a purchase
// that failed.
package bboltjournal
