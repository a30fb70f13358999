package netns

import (
	"fmt"
	"os"
	"strings"
)

// sysctlFile is that of a key such as net.ipv4.ip_forward. Below /proc/sys/net it is that
// of the namespace of the thread that opens it.
func sysctlFile(key string) string { return "/proc/sys/" + strings.ReplaceAll(key, ".", "/") }

// Sysctl reads a setting of the namespace, without the line's end. The error is
// os.ErrNotExist where the kernel has none of that name.
func (n *NS) Sysctl(key string) (value string, err error) {
	err = n.Do(func() error {
		text, err := os.ReadFile(sysctlFile(key))
		value = strings.TrimSpace(string(text))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", key, err)
	}
	return value, nil
}

// SetSysctl changes a setting of the namespace.
func (n *NS) SetSysctl(key, value string) error {
	err := n.Do(func() error { return os.WriteFile(sysctlFile(key), []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", key, value, err)
	}
	return nil
}
