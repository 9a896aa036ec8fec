package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed css/*.css assets/*
var assetFiles embed.FS

// asset is one file as it is served.
type asset struct {
	kind string
	body []byte
}

// assetNames knows each asset by its plain name and by its served name, which carries a hash
// of the content, so that a browser may keep it for ever and still never show an old one.
type assetNames struct {
	files  map[string]asset  // by served name
	served map[string]string // plain name to served name
}

var names = loadAssets()

// url is the path of an asset. A name that does not exist gives a path that is not found,
// which the tests catch.
func (a *assetNames) url(name string) string { return "/assets/" + a.served[name] }

func loadAssets() *assetNames {
	a := &assetNames{files: map[string]asset{}, served: map[string]string{}}
	add := func(name string, body []byte) {
		sum := sha256.Sum256(body)
		ext := path.Ext(name)
		served := strings.TrimSuffix(name, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		a.files[served] = asset{mime.TypeByExtension(ext), body}
		a.served[name] = served
	}
	var css bytes.Buffer
	_ = fs.WalkDir(assetFiles, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := assetFiles.ReadFile(p)
		if err != nil {
			return err
		}
		if strings.HasPrefix(p, "css/") {
			css.Write(body) // in the order of their numbers
			return nil
		}
		add(path.Base(p), body)
		return nil
	})
	add("holdfast.css", css.Bytes())
	return a
}

// Assets serves what pages load. Names carry a hash, so answers are kept for a year.
func Assets(w http.ResponseWriter, r *http.Request) {
	f, ok := names.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", f.kind)
	_, _ = w.Write(f.body)
}

// ServiceWorker serves the worker that keeps the emergency page for times without a
// connection. It stands at the root, because a worker rules only the paths below its own.
// Its text carries the names of the assets it keeps, so a new build replaces it.
func ServiceWorker(w http.ResponseWriter, _ *http.Request) {
	body := names.files[names.served["worker.js"]].body
	for _, name := range []string{"holdfast.css", "holdfast.js", "mark.svg"} {
		body = bytes.ReplaceAll(body, []byte("{"+name+"}"), []byte(names.url(name)))
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(body)
}

// Manifest serves what makes the pages installable.
func Manifest(w http.ResponseWriter, _ *http.Request) {
	body := names.files[names.served["manifest.json"]].body
	for _, name := range []string{"icon-192.png", "icon-512.png", "icon-mask.png", "mark.svg"} {
		body = bytes.ReplaceAll(body, []byte("{"+name+"}"), []byte(names.url(name)))
	}
	w.Header().Set("Content-Type", "application/manifest+json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(body)
}
