package message

// FieldID names a field this proxy knows, so that comparing names is comparing
// integers. FieldOther is every other name.
type FieldID uint8

// The known fields.
const (
	FieldOther                    FieldID = iota
	FieldHost                             // Host
	FieldConnection                       // Connection
	FieldContentLength                    // Content-Length
	FieldTransferEncoding                 // Transfer-Encoding
	FieldTrailer                          // Trailer
	FieldTE                               // TE
	FieldUpgrade                          // Upgrade
	FieldKeepAlive                        // Keep-Alive
	FieldProxyConnection                  // Proxy-Connection
	FieldProxyAuthenticate                // Proxy-Authenticate
	FieldProxyAuthenticationInfo          // Proxy-Authentication-Info
	FieldProxyAuthorization               // Proxy-Authorization
	FieldAccept                           // Accept
	FieldAcceptEncoding                   // Accept-Encoding
	FieldAcceptLanguage                   // Accept-Language
	FieldAcceptRanges                     // Accept-Ranges
	FieldAge                              // Age
	FieldAllow                            // Allow
	FieldAuthorization                    // Authorization
	FieldCacheControl                     // Cache-Control
	FieldCacheStatus                      // Cache-Status
	FieldCacheGroups                      // Cache-Groups
	FieldCacheGroupInvalidation           // Cache-Group-Invalidation
	FieldCDNCacheControl                  // CDN-Cache-Control
	FieldCDNLoop                          // CDN-Loop
	FieldContentEncoding                  // Content-Encoding
	FieldContentLanguage                  // Content-Language
	FieldContentLocation                  // Content-Location
	FieldContentRange                     // Content-Range
	FieldContentType                      // Content-Type
	FieldCookie                           // Cookie
	FieldDate                             // Date
	FieldETag                             // ETag
	FieldExpect                           // Expect
	FieldExpires                          // Expires
	FieldForwarded                        // Forwarded
	FieldIfMatch                          // If-Match
	FieldIfModifiedSince                  // If-Modified-Since
	FieldIfNoneMatch                      // If-None-Match
	FieldIfRange                          // If-Range
	FieldIfUnmodifiedSince                // If-Unmodified-Since
	FieldLastModified                     // Last-Modified
	FieldLink                             // Link
	FieldLocation                         // Location
	FieldMaxForwards                      // Max-Forwards
	FieldNoVarySearch                     // No-Vary-Search
	FieldOrigin                           // Origin
	FieldPragma                           // Pragma
	FieldProxyStatus                      // Proxy-Status
	FieldRange                            // Range
	FieldReferer                          // Referer
	FieldRetryAfter                       // Retry-After
	FieldServer                           // Server
	FieldSetCookie                        // Set-Cookie
	FieldSurrogateControl                 // Surrogate-Control
	FieldSurrogateKey                     // Surrogate-Key
	FieldCacheTag                         // Cache-Tag
	FieldUserAgent                        // User-Agent
	FieldVary                             // Vary
	FieldVia                              // Via
	FieldWarning                          // Warning
	FieldWWWAuthenticate                  // WWW-Authenticate
	FieldXForwardedFor                    // X-Forwarded-For
	FieldXForwardedHost                   // X-Forwarded-Host
	FieldXForwardedProto                  // X-Forwarded-Proto
	FieldXForwardedScheme                 // X-Forwarded-Scheme
	FieldXForwardedPort                   // X-Forwarded-Port
	FieldXForwardedPrefix                 // X-Forwarded-Prefix
	FieldXForwardedServer                 // X-Forwarded-Server
	FieldXHost                            // X-Host
	FieldXOriginalURL                     // X-Original-URL
	FieldXRewriteURL                      // X-Rewrite-URL
	FieldXHTTPMethodOverride              // X-HTTP-Method-Override
	FieldXRealIP                          // X-Real-IP
	FieldSecWebSocketKey                  // Sec-WebSocket-Key
	FieldSecWebSocketAccept               // Sec-WebSocket-Accept
	FieldSecWebSocketVersion              // Sec-WebSocket-Version
	FieldSecWebSocketProtocol             // Sec-WebSocket-Protocol
	FieldSecWebSocketExtensions           // Sec-WebSocket-Extensions
	FieldHTTP2Settings                    // HTTP2-Settings
	FieldAltSvc                           // Alt-Svc
	FieldStrictTransportSecurity          // Strict-Transport-Security
	FieldContentSecurityPolicy            // Content-Security-Policy
	FieldXContentTypeOptions              // X-Content-Type-Options
	FieldAccessControlAllowOrigin         // Access-Control-Allow-Origin
	FieldAvailableDictionary              // Available-Dictionary
	FieldUseAsDictionary                  // Use-As-Dictionary
	FieldDictionaryID                     // Dictionary-ID

	numFieldIDs
)

type fieldName struct {
	string string
	bytes  []byte
}

var fieldNames = [numFieldIDs]fieldName{
	FieldHost:                     {string: "Host"},
	FieldConnection:               {string: "Connection"},
	FieldContentLength:            {string: "Content-Length"},
	FieldTransferEncoding:         {string: "Transfer-Encoding"},
	FieldTrailer:                  {string: "Trailer"},
	FieldTE:                       {string: "TE"},
	FieldUpgrade:                  {string: "Upgrade"},
	FieldKeepAlive:                {string: "Keep-Alive"},
	FieldProxyConnection:          {string: "Proxy-Connection"},
	FieldProxyAuthenticate:        {string: "Proxy-Authenticate"},
	FieldProxyAuthenticationInfo:  {string: "Proxy-Authentication-Info"},
	FieldProxyAuthorization:       {string: "Proxy-Authorization"},
	FieldAccept:                   {string: "Accept"},
	FieldAcceptEncoding:           {string: "Accept-Encoding"},
	FieldAcceptLanguage:           {string: "Accept-Language"},
	FieldAcceptRanges:             {string: "Accept-Ranges"},
	FieldAge:                      {string: "Age"},
	FieldAllow:                    {string: "Allow"},
	FieldAuthorization:            {string: "Authorization"},
	FieldCacheControl:             {string: "Cache-Control"},
	FieldCacheStatus:              {string: "Cache-Status"},
	FieldCacheGroups:              {string: "Cache-Groups"},
	FieldCacheGroupInvalidation:   {string: "Cache-Group-Invalidation"},
	FieldCDNCacheControl:          {string: "CDN-Cache-Control"},
	FieldCDNLoop:                  {string: "CDN-Loop"},
	FieldContentEncoding:          {string: "Content-Encoding"},
	FieldContentLanguage:          {string: "Content-Language"},
	FieldContentLocation:          {string: "Content-Location"},
	FieldContentRange:             {string: "Content-Range"},
	FieldContentType:              {string: "Content-Type"},
	FieldCookie:                   {string: "Cookie"},
	FieldDate:                     {string: "Date"},
	FieldETag:                     {string: "ETag"},
	FieldExpect:                   {string: "Expect"},
	FieldExpires:                  {string: "Expires"},
	FieldForwarded:                {string: "Forwarded"},
	FieldIfMatch:                  {string: "If-Match"},
	FieldIfModifiedSince:          {string: "If-Modified-Since"},
	FieldIfNoneMatch:              {string: "If-None-Match"},
	FieldIfRange:                  {string: "If-Range"},
	FieldIfUnmodifiedSince:        {string: "If-Unmodified-Since"},
	FieldLastModified:             {string: "Last-Modified"},
	FieldLink:                     {string: "Link"},
	FieldLocation:                 {string: "Location"},
	FieldMaxForwards:              {string: "Max-Forwards"},
	FieldNoVarySearch:             {string: "No-Vary-Search"},
	FieldOrigin:                   {string: "Origin"},
	FieldPragma:                   {string: "Pragma"},
	FieldProxyStatus:              {string: "Proxy-Status"},
	FieldRange:                    {string: "Range"},
	FieldReferer:                  {string: "Referer"},
	FieldRetryAfter:               {string: "Retry-After"},
	FieldServer:                   {string: "Server"},
	FieldSetCookie:                {string: "Set-Cookie"},
	FieldSurrogateControl:         {string: "Surrogate-Control"},
	FieldSurrogateKey:             {string: "Surrogate-Key"},
	FieldCacheTag:                 {string: "Cache-Tag"},
	FieldUserAgent:                {string: "User-Agent"},
	FieldVary:                     {string: "Vary"},
	FieldVia:                      {string: "Via"},
	FieldWarning:                  {string: "Warning"},
	FieldWWWAuthenticate:          {string: "WWW-Authenticate"},
	FieldXForwardedFor:            {string: "X-Forwarded-For"},
	FieldXForwardedHost:           {string: "X-Forwarded-Host"},
	FieldXForwardedProto:          {string: "X-Forwarded-Proto"},
	FieldXForwardedScheme:         {string: "X-Forwarded-Scheme"},
	FieldXForwardedPort:           {string: "X-Forwarded-Port"},
	FieldXForwardedPrefix:         {string: "X-Forwarded-Prefix"},
	FieldXForwardedServer:         {string: "X-Forwarded-Server"},
	FieldXHost:                    {string: "X-Host"},
	FieldXOriginalURL:             {string: "X-Original-URL"},
	FieldXRewriteURL:              {string: "X-Rewrite-URL"},
	FieldXHTTPMethodOverride:      {string: "X-HTTP-Method-Override"},
	FieldXRealIP:                  {string: "X-Real-IP"},
	FieldSecWebSocketKey:          {string: "Sec-WebSocket-Key"},
	FieldSecWebSocketAccept:       {string: "Sec-WebSocket-Accept"},
	FieldSecWebSocketVersion:      {string: "Sec-WebSocket-Version"},
	FieldSecWebSocketProtocol:     {string: "Sec-WebSocket-Protocol"},
	FieldSecWebSocketExtensions:   {string: "Sec-WebSocket-Extensions"},
	FieldHTTP2Settings:            {string: "HTTP2-Settings"},
	FieldAltSvc:                   {string: "Alt-Svc"},
	FieldStrictTransportSecurity:  {string: "Strict-Transport-Security"},
	FieldContentSecurityPolicy:    {string: "Content-Security-Policy"},
	FieldXContentTypeOptions:      {string: "X-Content-Type-Options"},
	FieldAccessControlAllowOrigin: {string: "Access-Control-Allow-Origin"},
	FieldAvailableDictionary:      {string: "Available-Dictionary"},
	FieldUseAsDictionary:          {string: "Use-As-Dictionary"},
	FieldDictionaryID:             {string: "Dictionary-ID"},
}

// fieldTable maps a hash of the lower-cased name to the ID. Built once: the
// multiplier is searched for until no two known names share a slot, so that a
// look-up is one hash, one load and one comparison.
const fieldTableBits = 11

var (
	fieldTable [1 << fieldTableBits]FieldID
	fieldMul   uint32
)

func init() {
	for i := range fieldNames {
		fieldNames[i].bytes = []byte(fieldNames[i].string)
	}
	for fieldMul = 0x9e3779b1; !fillFieldTable(); fieldMul += 2 {
	}
}

func fillFieldTable() bool {
	clear(fieldTable[:])
	for id := FieldOther + 1; id < numFieldIDs; id++ {
		slot := &fieldTable[fieldHash(fieldNames[id].bytes)]
		if *slot != FieldOther {
			return false
		}
		*slot = id
	}
	return true
}

// fieldHash mixes the length, the first, middle and last two octets; the
// table's construction makes sure that this tells the known names apart.
func fieldHash(name []byte) uint32 {
	n := len(name)
	if n < 2 {
		return 0
	}
	// Setting bit 0x20 folds the case of letters and leaves '-' and digits.
	h := uint32(n) | uint32(name[0]|0x20)<<8 | uint32(name[n-1]|0x20)<<16 | uint32(name[n/2]|0x20)<<24
	h ^= uint32(name[n-2]|0x20)<<3 ^ uint32(name[n/3]|0x20)<<13
	return (h * fieldMul) >> (32 - fieldTableBits)
}

// LookupFieldID returns the ID of a field name, whatever its case.
func LookupFieldID(name []byte) FieldID {
	id := fieldTable[fieldHash(name)]
	if id != FieldOther && EqualFold(name, fieldNames[id].bytes) {
		return id
	}
	return FieldOther
}

// String returns the field's name in its canonical spelling.
func (id FieldID) String() string {
	if id == FieldOther || id >= numFieldIDs {
		return "other"
	}
	return fieldNames[id].string
}
