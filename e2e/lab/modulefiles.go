//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// GatewayAPI is the module with the definitions of the Gateway API.
const GatewayAPI = "sigs.k8s.io/gateway-api@v1.6.3"

// GatewayFiles are the files of GatewayAPI with Gateway and TLSRoute.
var GatewayFiles = []string{"config/crd/standard/*_gateways.yaml", "config/crd/standard/*_tlsroutes.yaml"}

// ModuleFiles downloads a Go module, and returns some of its files. Each pattern is that of one file.
func ModuleFiles(ctx context.Context, module string, patterns ...string) ([]string, error) {
	cmd := Command(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = os.TempDir() // outside of this module
	out, err := cmd.Output()
	var downloaded struct{ Dir string }
	if err != nil || json.Unmarshal(out, &downloaded) != nil {
		return nil, fmt.Errorf("go mod download %s: %w\n%s", module, err, out)
	}
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(downloaded.Dir, pattern))
		if err != nil {
			return nil, err
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("%s has %d files %s, want one", module, len(found), pattern)
		}
		files = append(files, found...)
	}
	return files, nil
}
