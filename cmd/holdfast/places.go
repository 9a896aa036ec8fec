package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// The demonstration's actors live at addresses that are set aside for documentation (RFC 5737), so
// that no address of a real person or machine appears anywhere.
const (
	addrHolder    = "192.0.2.10"    // the holder's laptop
	addrBystander = "192.0.2.77"    // another customer
	addrStranger  = "198.51.100.23" // the unknown device that signs in with the stolen password
	addrBot       = "203.0.113.7"   // the holder's trading server, where the thief's bot runs
)

var demoPlaces = map[string][2]string{
	"192.0.2.0/24":    {"Lyon", "FR"},
	"198.51.100.0/24": {"Reykjavik", "IS"},
	"203.0.113.0/24":  {"Frankfurt", "DE"},
}

// writePlaces makes a small GeoIP file that knows the demonstration's addresses.
func writePlaces(path string) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Holdfast-Demonstration-City", IncludeReservedNetworks: true, RecordSize: 24})
	if err != nil {
		return fmt.Errorf("make the file of places: %w", err)
	}
	for prefix, place := range demoPlaces {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			return fmt.Errorf("make the file of places: %w", err)
		}
		err = tree.Insert(network, mmdbtype.Map{
			"city":    mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(place[0])}},
			"country": mmdbtype.Map{"iso_code": mmdbtype.String(place[1])},
		})
		if err != nil {
			return fmt.Errorf("make the file of places: %w", err)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make the file of places: %w", err)
	}
	_, err = tree.WriteTo(f)
	return errors.Join(err, f.Close())
}
