// Package sandbox holds local stand-ins for OpenAI and GitHub. They keep state
// as the real services do, answer as those answer, and misbehave on demand.
// The demo and the tests run on them; nothing in here reaches a real host.
package sandbox
