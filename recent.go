package letagentpay

// recent is a map that keeps the latest entries: at least half of limit, at most limit. It is not safe for concurrent
// use.
type recent[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] { return &recent[K, V]{limit: limit} }

func (rc *recent[K, V]) get(key K) (V, bool) {
	value, ok := rc.young[key]
	if !ok {
		value, ok = rc.old[key]
	}
	return value, ok
}

func (rc *recent[K, V]) put(key K, value V) {
	if rc.young == nil || len(rc.young) >= rc.limit/2 {
		rc.old, rc.young = rc.young, make(map[K]V)
	}
	delete(rc.old, key)
	rc.young[key] = value
}

func (rc *recent[K, V]) drop(key K) {
	delete(rc.young, key)
	delete(rc.old, key)
}
