package h1

// fault is one way in which a message is refused. The table below is the whole
// list: what was wrong, which section decides, and the status of the answer
// when it was a request. When it was a response the status is always 502.
type fault uint8

const (
	faultNone fault = iota
	// faultIncomplete is no refusal: the bytes so far end too early to tell.
	faultIncomplete

	faultBareLF
	faultBareCR
	faultControl
	faultEmptyLines
	faultMethod
	faultConnect
	faultTarget
	faultTargetForm
	faultUserinfo
	faultScheme
	faultVersionSyntax
	faultVersion
	faultRequestLineLong
	faultStatusLine
	faultStatusCode
	faultHeadLong
	faultTooManyFields
	faultLeadingSpace
	faultFold
	faultSpaceBeforeColon
	faultNoColon
	faultFieldName
	faultNoHost
	faultManyHosts
	faultHost
	faultNoDefaultHost
	faultLengthSyntax
	faultLengthsDiffer
	faultCodingAndLength
	faultCodingTwice
	faultCodingOld
	faultCodingUnknown
	faultCodingNotFinal
	faultExpect
	faultSwitchUnasked
	faultTooManyInterims
	faultChunkSize
	faultChunkExtension
	faultChunkLineLong
	faultChunkOverhead
	faultChunkEnd
	faultTrailersLong
	faultBodyLong

	numFaults
)

var faults = [numFaults]struct {
	status          int
	section, reason string
}{
	faultIncomplete:       {400, "RFC 9112 8", "message ended early"},
	faultBareLF:           {400, "RFC 9112 2.2", "line ended by a bare LF"},
	faultBareCR:           {400, "RFC 9112 2.2", "bare CR"},
	faultControl:          {400, "RFC 9110 5.5", "control byte in a field value"},
	faultEmptyLines:       {400, "RFC 9112 2.2", "more than one empty line before the request line"},
	faultMethod:           {400, "RFC 9112 3.1", "method is not a token"},
	faultConnect:          {501, "RFC 9110 9.3.6", "CONNECT is not served here"},
	faultTarget:           {400, "RFC 9112 3.2", "byte not allowed in a request target"},
	faultTargetForm:       {400, "RFC 9112 3.2", "request target has none of the forms its method allows"},
	faultUserinfo:         {400, "RFC 9110 4.2.4", "userinfo in the request target"},
	faultScheme:           {421, "RFC 9110 7.4", "scheme of the request target is not this connection's"},
	faultVersionSyntax:    {400, "RFC 9112 2.3", "malformed HTTP version"},
	faultVersion:          {505, "RFC 9110 2.5", "HTTP version not supported"},
	faultRequestLineLong:  {414, "RFC 9112 3", "request line too long"},
	faultStatusLine:       {400, "RFC 9112 4", "malformed status line"},
	faultStatusCode:       {400, "RFC 9110 15", "status code out of range"},
	faultHeadLong:         {431, "RFC 9110 5.4", "head too large"},
	faultTooManyFields:    {431, "RFC 9110 5.4", "too many field lines"},
	faultLeadingSpace:     {400, "RFC 9112 2.2", "white space before the first field line"},
	faultFold:             {400, "RFC 9112 5.2", "folded field line"},
	faultSpaceBeforeColon: {400, "RFC 9112 5.1", "white space between field name and colon"},
	faultNoColon:          {400, "RFC 9112 5", "field line without a colon"},
	faultFieldName:        {400, "RFC 9110 5.1", "field name is not a token"},
	faultNoHost:           {400, "RFC 9112 3.2", "no Host"},
	faultManyHosts:        {400, "RFC 9112 3.2", "more than one Host"},
	faultHost:             {400, "RFC 9112 3.2", "malformed Host or authority"},
	faultNoDefaultHost:    {400, "RFC 9112 3.3", "no Host, and no default host to stand for it"},
	faultLengthSyntax:     {400, "RFC 9112 6.3", "malformed Content-Length"},
	faultLengthsDiffer:    {400, "RFC 9112 6.3", "differing Content-Lengths"},
	faultCodingAndLength:  {400, "RFC 9112 6.1", "Transfer-Encoding together with Content-Length"},
	faultCodingTwice:      {400, "RFC 9112 6.1", "more than one Transfer-Encoding line"},
	faultCodingOld:        {400, "RFC 9112 6.1", "Transfer-Encoding in HTTP/1.0"},
	faultCodingUnknown:    {501, "RFC 9112 6.1", "transfer coding not implemented"},
	faultCodingNotFinal:   {400, "RFC 9112 6.3", "chunked is not the final transfer coding"},
	faultExpect:           {417, "RFC 9110 10.1.1", "expectation other than 100-continue"},
	faultSwitchUnasked:    {400, "RFC 9110 15.2.2", "101 that was not asked for, or names no protocol"},
	faultTooManyInterims:  {400, "RFC 9110 15.2", "too many interim responses"},
	faultChunkSize:        {400, "RFC 9112 7.1", "malformed chunk size"},
	faultChunkExtension:   {400, "RFC 9112 7.1.1", "malformed chunk extension"},
	faultChunkLineLong:    {400, "RFC 9112 7.1.1", "chunk line too long"},
	faultChunkOverhead:    {400, "RFC 9112 7.1.1", "chunk lines out of proportion to their data"},
	faultChunkEnd:         {400, "RFC 9112 7.1", "chunk data not ended by CRLF"},
	faultBodyLong:         {413, "RFC 9110 15.5.14", "content too large"},
	faultTrailersLong:     {431, "RFC 9112 7.1.2", "trailer section too large"},
}

// requestError is the fault as an answer to a client.
func (f fault) requestError() *Error {
	x := &faults[f]
	return &Error{Status: x.status, Reason: x.reason, Section: x.section}
}

// responseError is the fault of an origin.
func (f fault) responseError() *Error {
	x := &faults[f]
	return &Error{Status: 502, Reason: x.reason, Section: x.section}
}
