// Package e2e runs halfopen's lab with a real Filebeat. It is a module of its
// own: Filebeat needs some hundred modules and replaces a dozen of them, and
// halfopen is to have none of that.
package e2e
