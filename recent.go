package letagentpay

// recent is a map that keeps the latest entries: at least half of limit, at most limit.
type recent[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] { return &recent[K, V]{limit: limit} }

func (r *recent[K, V]) get(key K) (V, bool) {
	value, ok := r.young[key]
	if !ok {
		value, ok = r.old[key]
	}
	return value, ok
}

func (r *recent[K, V]) put(key K, value V) {
	if r.young == nil || len(r.young) >= r.limit/2 {
		r.old, r.young = r.young, make(map[K]V)
	}
	delete(r.old, key)
	r.young[key] = value
}

func (r *recent[K, V]) drop(key K) {
	delete(r.young, key)
	delete(r.old, key)
}
