package account

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Places tells where an address is, as "Lyon (FR)", from a GeoIP file in MaxMind's format. It is a
// hint for people and proves nothing. A nil Places knows no place. It is safe for concurrent use.
type Places struct{ file *maxminddb.Reader }

// OpenPlaces opens a GeoIP file that has cities and countries.
func OpenPlaces(path string) (*Places, error) {
	file, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open GeoIP file: %w", err)
	}
	return &Places{file}, nil
}

// Close closes the file.
func (p *Places) Close() error {
	if p == nil {
		return nil
	}
	return p.file.Close()
}

// Name returns the place of an address: "Lyon (FR)", "FR", or nothing when it is not known.
func (p *Places) Name(address string) string {
	if p == nil {
		return ""
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	var record struct {
		City struct {
			Names map[string]string `maxminddb:"names"`
		} `maxminddb:"city"`
		Country struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
	}
	if err := p.file.Lookup(addr.Unmap().WithZone("")).Decode(&record); err != nil {
		return "" // a place is a courtesy; nothing depends on it
	}
	city := short(record.City.Names["en"])
	switch {
	case city != "" && record.Country.Code != "":
		return city + " (" + short(record.Country.Code) + ")"
	case city != "":
		return city
	default:
		return short(record.Country.Code)
	}
}
