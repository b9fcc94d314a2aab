// Package rules says what a key looks like, and finds keys in bytes.
//
// # Rules
//
// Rules are written in TOML, in the keys of gitleaks' format (id, description,
// regex, secretGroup, entropy, keywords, allowlists), which mean what they mean
// there, and in four keys of our own:
//
//   - kind: which of OpenAI's keys it is (see [finding.Kinds]). Then, the body
//     of a candidate must not be a placeholder, and entropy counts its body
//     alone, without the text that every such key begins with.
//   - halves: the regex has the form PREFIX[CLASS]{m,n}MARKER[CLASS]{m,n}, and
//     these are the lengths that a half is known to have. A left half of such a
//     length decides where the key ends, whatever follows it; confidence is
//     high. Other lengths take all that is there; confidence is medium if they
//     are equal, else low.
//   - examples: texts in which the rule finds a key.
//   - counterexamples: texts in which it finds none.
//
// Examples are templates, so that no key has to stand in a file: {n} is n
// random characters of a key (letters, digits, - and _), {n alnum} and {n hex}
// are n random letters and digits, or lower-case hexadecimal digits, and
// {n of TEXT} is TEXT, repeated and cut off at n bytes. The random characters
// are the same everywhere. A rule that fails its examples is an error.
//
// The keys title, description, minVersion and tags are for people, and
// extend.useDefault changes nothing, because the embedded rules are always in
// force. What needs more than bytes (path, paths, commits, skipReport,
// required, other files) is an error, and so is every unknown key.
//
// # Search
//
// The data are gigabytes, and nearly nothing matches. A key is far longer than
// a word, so for every rule whose matches cannot hold white space or quotes,
// one pass over the data looks for long runs of the bytes of all these rules,
// and the rest happens in the few runs there are: a literal first, then the
// expression, then the shape. The other rules are searched for one by one in
// content that has one of their keywords.
package rules
