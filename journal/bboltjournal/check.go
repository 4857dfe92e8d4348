package bboltjournal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"go.etcd.io/bbolt"
)

// bbolt trusts its file: a damaged offset leads it anywhere in memory, where it crashes or reads something else, and
// its own check does so in a goroutine whose panic cannot be recovered. So the pages are checked here, as plain bytes
// and before bbolt follows them.
//
// A page has a header (id 8 bytes, flags 2, count 2, overflow 4: how many pages more it takes) and then elements, in
// this machine's byte order. An element of a branch is (pos 4, key size 4, page 8), of a leaf (flags 4, pos 4, key size
// 4, value size 4); pos counts from the element itself, and the value follows the key. Keys and values follow the
// elements without a gap, in the same order, so a count that is too low shows: the elements it leaves out are gaps. A
// bucket is a leaf's value: (root page 8, sequence 8), and with a root of 0 a page of its own behind that.
const (
	pageHeader    = 16
	elementSize   = 16
	bucketHeader  = 16
	branchPage    = 0x01
	leafPage      = 0x02
	freelistPage  = 0x10
	bucketElement = 0x01
	firstPage     = 2 // after the two meta pages

	metaFreelist = pageHeader + 32 // offsets in a meta page
	metaTxid     = pageHeader + 48
	noFreelist   = math.MaxUint64
)

var order = binary.NativeEndian

type checker struct {
	file     io.ReaderAt
	pageSize int64
	used     []bool // by page
}

// checkPages returns an error if a page that a transaction can reach is damaged.
func checkPages(file io.ReaderAt, tx *bbolt.Tx) error {
	pageSize := int64(tx.DB().Info().PageSize)
	c := &checker{file: file, pageSize: pageSize, used: make([]bool, tx.Size()/pageSize)}
	if err := c.tree(uint64(tx.Cursor().Bucket().Root()), nil, nil, true); err != nil {
		return err
	}
	for number := range int64(2) {
		meta := make([]byte, metaTxid+8)
		if _, err := file.ReadAt(meta, number*pageSize); err != nil {
			return err
		}
		if order.Uint64(meta[metaTxid:]) == uint64(tx.ID()) {
			return c.freelist(order.Uint64(meta[metaFreelist:]))
		}
	}
	return errors.New("the newest meta page is gone")
}

// page reads a page together with its overflow pages. Each page may be read once.
func (c *checker) page(id uint64) ([]byte, error) {
	pages := uint64(len(c.used))
	if id < firstPage || id >= pages {
		return nil, fmt.Errorf("a reference to page %d of %d", id, pages)
	}
	header := make([]byte, pageHeader)
	if _, err := c.file.ReadAt(header, int64(id)*c.pageSize); err != nil {
		return nil, err
	}
	overflow := uint64(order.Uint32(header[12:]))
	if found := order.Uint64(header); found != id || overflow >= pages-id {
		return nil, fmt.Errorf("page %d says that it is page %d and takes %d more of %d", id, found, overflow, pages)
	}
	for i := id; i <= id+overflow; i++ {
		if c.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		c.used[i] = true
	}
	page := make([]byte, int64(overflow+1)*c.pageSize)
	_, err := c.file.ReadAt(page, int64(id)*c.pageSize)
	return page, err
}

// tree checks the pages below a page, whose keys must be from low up to but not including high, nil for no bound.
func (c *checker) tree(id uint64, low, high []byte, top bool) error {
	page, err := c.page(id)
	if err != nil {
		return err
	}
	if order.Uint16(page[8:]) != branchPage {
		return c.leaf(page, id, low, high, top)
	}
	var keys [][]byte
	var children []uint64
	count := int(order.Uint16(page[10:]))
	next := pageHeader + count*elementSize // where the next key must be
	for i := range count {
		at := pageHeader + i*elementSize
		if at+elementSize > len(page) {
			return fmt.Errorf("page %d has too many elements", id)
		}
		pos, keySize := order.Uint32(page[at:]), order.Uint32(page[at+4:])
		key, err := span(page, at, pos, keySize)
		if err == nil {
			next, err = adjoin(next, at, pos, keySize)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if err := between(key, low, high, keys); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		keys, children = append(keys, key), append(children, order.Uint64(page[at+8:]))
	}
	if len(keys) == 0 {
		return fmt.Errorf("page %d is a branch without a child", id)
	}
	for i, child := range children {
		from, to := keys[i], high
		if i == 0 {
			from = low
		}
		if i+1 < len(keys) {
			to = keys[i+1]
		}
		if err := c.tree(child, from, to, top); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(page []byte, id uint64, low, high []byte, top bool) error {
	if flags := order.Uint16(page[8:]); flags != leafPage {
		return fmt.Errorf("page %d has the flags %#x", id, flags)
	}
	var keys [][]byte
	count := int(order.Uint16(page[10:]))
	next := pageHeader + count*elementSize // where the next key must be
	for i := range count {
		at := pageHeader + i*elementSize
		if at+elementSize > len(page) {
			return fmt.Errorf("page %d has too many elements", id)
		}
		flags, pos := order.Uint32(page[at:]), order.Uint32(page[at+4:])
		keySize, valueSize := order.Uint32(page[at+8:]), order.Uint32(page[at+12:])
		key, err := span(page, at, pos, keySize)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if len(key) == 0 {
			return fmt.Errorf("page %d has an element without a key", id)
		}
		value, err := span(page, at+int(keySize), pos, valueSize)
		if err == nil {
			next, err = adjoin(next, at, pos, keySize+valueSize)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if err := between(key, low, high, keys); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		keys = append(keys, key)
		if isBucket := flags == bucketElement; isBucket != top || !isBucket && flags != 0 {
			return fmt.Errorf("page %d: the element %q has the flags %#x", id, key, flags)
		}
		if top {
			if err := c.bucket(value, id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) bucket(value []byte, id uint64) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("page %d has a bucket of %d bytes", id, len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, false)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader {
		return fmt.Errorf("page %d has an inline bucket of %d bytes", id, len(inline))
	}
	return c.leaf(inline, id, nil, nil, false)
}

// span returns size bytes of a page, beginning pos bytes after the offset at.
func span(page []byte, at int, pos, size uint32) ([]byte, error) {
	from := int64(at) + int64(pos)
	if from+int64(size) > int64(len(page)) {
		return nil, fmt.Errorf("an element of %d bytes at %d of %d", size, from, len(page))
	}
	return page[from : from+int64(size)], nil
}

// adjoin checks that an element's key is at next, and returns where the one after it must be.
func adjoin(next, at int, pos, size uint32) (int, error) {
	if at+int(pos) != next {
		return 0, fmt.Errorf("the key of an element is at %d, not at %d", at+int(pos), next)
	}
	return next + int(size), nil
}

// between checks that a key is within bounds and above those before it.
func between(key, low, high []byte, before [][]byte) error {
	aboveOthers := len(before) == 0 || bytes.Compare(before[len(before)-1], key) < 0
	withinBounds := bytes.Compare(key, low) >= 0 && (high == nil || bytes.Compare(key, high) < 0)
	if !aboveOthers || !withinBounds {
		return fmt.Errorf("the key %q is out of order", key)
	}
	return nil
}

// freelist checks that the pages listed as free are not used.
func (c *checker) freelist(id uint64) error {
	if id == noFreelist {
		return nil // bbolt derives it from the tree
	}
	page, err := c.page(id)
	if err != nil {
		return err
	}
	if flags := order.Uint16(page[8:]); flags != freelistPage {
		return fmt.Errorf("page %d, the free list, has the flags %#x", id, flags)
	}
	count, list := uint64(order.Uint16(page[10:])), page[pageHeader:]
	if count == math.MaxUint16 { // then the first element is the count
		count, list = order.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return fmt.Errorf("page %d, the free list, has %d elements", id, count)
	}
	for i := range count {
		free := order.Uint64(list[i*8:])
		if free < firstPage || free >= uint64(len(c.used)) || c.used[free] {
			return fmt.Errorf("page %d of %d counts as free", free, len(c.used))
		}
		c.used[free] = true
	}
	return nil
}
