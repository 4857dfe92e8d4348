package letagentpaytest

import (
	"encoding/json"
	"strings"
)

// Category is one of an account's categories. In JSON it is a name, or an object with name and is_active.
type Category struct {
	Name     string
	Inactive bool
}

// UnmarshalJSON reads a name, or an object with name and is_active.
func (c *Category) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, &c.Name)
	}
	read := struct {
		Name     string `json:"name"`
		IsActive bool   `json:"is_active"`
	}{IsActive: true}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*c = Category{Name: read.Name, Inactive: !read.IsActive}
	return nil
}

var separators = strings.NewReplacer(" ", "_", "-", "_")

func categoriesOf(names []string) []Category {
	categories := make([]Category, len(names))
	for i, name := range names {
		categories[i].Name = name
	}
	return categories
}

// resolve returns the account's category for the one that was sent. original is what was sent, or nil if it differs
// from the category at most in spaces, dashes and case.
func (acc *accountState) resolve(sent string) (category string, original *string) {
	name := separators.Replace(strings.ToLower(trimSpace(sent)))
	if acc.categories[name] {
		return name, nil
	}
	if target, ok := acc.aliases[name]; ok {
		return target, &sent
	}
	return "other", &sent
}
