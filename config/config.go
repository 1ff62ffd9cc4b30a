// Package config reads the configuration file: one documented tree of structs,
// decoded strictly and validated whole.
//
// Config, below, is the truth. A key's name, default, range and choices are its
// struct tags, its documentation is its comment, and docs/config-reference.md
// is rendered from both. The decoder (decode.go) walks the YAML tree beside the
// struct and reports every error at once, each with file, line, column and the
// key's dotted path; it never stops at the first. Whatever needs more than one
// key to judge is in validate.go.
//
// The tags:
//
//	yaml      the key
//	default   the value where the key is absent, written as in the file
//	inherit   path from the root of the block whose values are the defaults
//	required  the key must be there, and a list or map must not be empty
//	min, max  the range, written as in the file
//	enum      the choices, separated by commas
//	later     choices that are known but not built yet: refused, saying so
//	none      what the word none means for this key; the field is then None
//	shape     a further rule for a string or name (shapes.go)
//	phase     the key is known but its room is not built yet: refused
//
//go:generate go test -run TestReferenceIsCurrent -update .
package config

import "time"

// None is what a duration or size holds where the file says none, or says
// nothing and the default is none. What that means is each key's own matter and
// documented with it.
const None = -1

// Config is a whole configuration. After Load, Parse, Default or ForOrigin
// every default is filled in and every rule of this package holds. It is not
// changed afterwards: a reload makes a new one. Safe for concurrent reading.
type Config struct {
	// Version is the version of this format.
	Version int `yaml:"version" required:"true" min:"1" max:"1"`
	// Limits are the bounds that listeners and origins start from.
	Limits Limits `yaml:"limits"`
	// Timeouts are the waits that listeners and origins start from.
	Timeouts Timeouts `yaml:"timeouts"`
	// Listeners are the addresses on which clients are served.
	Listeners []Listener `yaml:"listeners" required:"true"`
	// Admin is the operator's own listener: metrics, health and the admin API.
	Admin Admin `yaml:"admin"`
	// Node is this node's identity among others.
	Node Node `yaml:"node"`
	// TrustedProxies are the peers, as addresses or CIDR prefixes, whose
	// Forwarded and X-Forwarded-* fields count.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`
	// Origins are the named groups of endpoints that answers come from.
	Origins map[string]*Origin `yaml:"origins" required:"true" shape:"name"`
	// Cache is the store that all routes share.
	Cache Cache `yaml:"cache"`
	// Routes say which origin answers what, and how it is cached. The first
	// match wins; a request that none matches gets 404.
	Routes []Route `yaml:"routes" required:"true"`
	// Logging is where the process and its exchanges are recorded.
	Logging Logging `yaml:"logging"`
	// Shutdown is how the process ends.
	Shutdown Shutdown `yaml:"shutdown"`
	// Journal is where purges are recorded.
	Journal Journal `yaml:"journal"`
}

// Limits are the bounds that listeners and origins start from; each may set its
// own.
type Limits struct {
	// Listener bounds what clients may send.
	Listener ListenerLimits `yaml:"listener"`
	// Origin bounds what origins may send, and how many connections to them
	// there are.
	Origin OriginLimits `yaml:"origin"`
}

// Timeouts are the waits that listeners and origins start from; each may set
// its own.
type Timeouts struct {
	// Listener bounds the waits for clients.
	Listener ListenerTimeouts `yaml:"listener"`
	// Origin bounds the waits for origins.
	Origin OriginTimeouts `yaml:"origin"`
}

// Listener is one address on which clients are served.
type Listener struct {
	// Address is host:port or unix:/path. Port 0 takes any free port.
	Address Address `yaml:"address" required:"true"`
	// Protocols are the protocols spoken here.
	Protocols []string `yaml:"protocols" default:"h1" enum:"h1" later:"h2"`
	// TLS makes this a TLS listener. Without it the listener is cleartext.
	TLS *ListenerTLS `yaml:"tls"`
	// DefaultHost is the authority of HTTP/1.0 requests without Host; without
	// it they get 400.
	DefaultHost string `yaml:"default_host" shape:"authority"`
	// MaxConnections is how many clients may be connected here at once; one
	// more is answered 503 and closed.
	MaxConnections int `yaml:"max_connections" default:"65536" min:"1" max:"10000000"`
	// MaxConnectionsPerAddress is how many of them may come from one address,
	// or for IPv6 from one /64; one more is answered 503 and closed.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address" default:"16384" min:"1" max:"10000000"`
	// Limits bounds what clients may send here.
	Limits ListenerLimits `yaml:"limits" inherit:"limits.listener"`
	// Timeouts bounds the waits for clients here.
	Timeouts ListenerTimeouts `yaml:"timeouts" inherit:"timeouts.listener"`
	// ProxyProtocol expects a PROXY line at the start of each connection.
	ProxyProtocol Unbuilt `yaml:"proxy_protocol" phase:"the PROXY protocol"`
}

// ListenerTLS is the TLS side of a listener.
type ListenerTLS struct {
	// Certificates are the certificates to choose from by the name the client
	// asks for; the first serves clients that name none.
	Certificates []Certificate `yaml:"certificates" required:"true"`
	// MinVersion is the lowest TLS version accepted.
	MinVersion string `yaml:"min_version" default:"1.2" enum:"1.2,1.3"`
}

// Certificate is a certificate chain with its private key.
type Certificate struct {
	// Cert is the PEM file with the chain, the leaf first. A relative path is
	// relative to the configuration file, here and in every other key that
	// names a file.
	Cert string `yaml:"cert" required:"true" shape:"file"`
	// Key is the PEM file with the private key.
	Key string `yaml:"key" required:"true" shape:"file"`
}

// ListenerLimits bounds what one client may send.
type ListenerLimits struct {
	// RequestLine is the longest request line; longer ones get 414.
	RequestLine Size `yaml:"request_line" default:"16KiB" min:"256B" max:"1MiB"`
	// HeaderBytes is the longest header section; longer ones get 431.
	HeaderBytes Size `yaml:"header_bytes" default:"64KiB" min:"1KiB" max:"16MiB"`
	// HeaderFields is how many field lines a header section may have; more get
	// 431.
	HeaderFields int `yaml:"header_fields" default:"200" min:"8" max:"10000"`
	// TrailerBytes is the longest trailer section; its field lines are bounded
	// by header_fields.
	TrailerBytes Size `yaml:"trailer_bytes" default:"8KiB" min:"64B" max:"16MiB"`
	// ChunkLine is the longest line that opens a chunk, extensions included.
	ChunkLine Size `yaml:"chunk_line" default:"1KiB" min:"32B" max:"64KiB"`
	// BodyRate is how many bytes a second of a request body must arrive, and of
	// a response must be taken, on average over the time spent waiting for
	// them; slower clients get 408 or a closed connection.
	BodyRate Size `yaml:"body_rate" default:"240B" none:"no minimum" min:"1B" max:"1GiB"`
	// Drain is how much of a request body that nobody wants is read so that
	// the connection can be kept; beyond it the connection is closed.
	Drain Size `yaml:"drain" default:"256KiB" min:"1B" max:"1GiB"`
	// Body is the longest request body; a longer one gets 413.
	Body Size `yaml:"body" default:"none" none:"no limit: bodies are streamed and never held whole" min:"1B" max:"1024TiB"`
	// Requests is how many requests one connection may carry.
	Requests int `yaml:"requests" default:"1000000" min:"1" max:"1000000000"`
}

// ListenerTimeouts bounds the waits for one client.
type ListenerTimeouts struct {
	// TLS is how long a TLS handshake may take.
	TLS time.Duration `yaml:"tls" default:"10s" min:"1ms" max:"10m"`
	// Head is how long a whole request head may take from its first byte, and
	// the first request's from the connection's start; then 408.
	Head time.Duration `yaml:"head" default:"10s" min:"1ms" max:"10m"`
	// Body is how long a request body may make no progress; then 408.
	Body time.Duration `yaml:"body" default:"30s" min:"1ms" max:"1h"`
	// Write is how long the writing of a response may make no progress.
	Write time.Duration `yaml:"write" default:"30s" min:"1ms" max:"1h"`
	// Drain is how long the reading of a request body that nobody wants may
	// take, and the lingering before a close.
	Drain time.Duration `yaml:"drain" default:"3s" min:"1ms" max:"1m"`
	// Idle is how long a connection is kept between requests.
	Idle time.Duration `yaml:"idle" default:"60s" min:"1ms" max:"1d"`
	// Tunnel is how long a connection that was upgraded may be silent in both
	// directions.
	Tunnel time.Duration `yaml:"tunnel" default:"1h" min:"1s" max:"7d"`
}

// Admin is the operator's listener.
type Admin struct {
	// Address is host:port or unix:/path. Without tokens_file it must be
	// loopback or a Unix socket.
	Address Address `yaml:"address" default:"127.0.0.1:9901"`
	// TokensFile holds the tokens that the admin API then requires of all but
	// /healthz and /readyz: a line each, with a name, scopes (read, purge,
	// admin, separated by commas) and sha256: with the hash of the token in
	// hexadecimal.
	TokensFile string `yaml:"tokens_file" shape:"file"`
}

// Journal is where purges are recorded, so that they outlive the process.
type Journal struct {
	// Path is the journal's file, created if it is not there. Without it the
	// journal is purges.journal in the directory of one of the disks; without disks
	// purges are kept in memory, where what they purge is too.
	Path string `yaml:"path" shape:"file"`
}

// Node is this node's identity.
type Node struct {
	// Name is this node's name in Cache-Status (RFC 9211) and Proxy-Status
	// (RFC 9209), and its pseudonym in Via (RFC 9110 section 7.6.3).
	Name string `yaml:"name" default:"edge" shape:"node"`
	// LoopID is the identifier in CDN-Loop (RFC 8586) by which a request that
	// comes back is known. Nodes that stand behind one another need different
	// ones. Without it, a pseudonym of this process.
	LoopID string `yaml:"loop_id" shape:"node"`
}

// Origin is a named group of endpoints that hold the same things.
type Origin struct {
	// Name is the key under which the origin stands.
	Name string `yaml:"-"`
	// Endpoints are the origin's addresses.
	Endpoints []Endpoint `yaml:"endpoints" required:"true"`
	// Balance says how an endpoint is chosen.
	Balance string `yaml:"balance" default:"round_robin" enum:"round_robin,weighted,random" later:"least_connections,peak_ewma,two_choices,consistent_hash"`
	// Host is the Host sent to the origin. Without it, the client's.
	Host string `yaml:"host" shape:"authority"`
	// TLS says how endpoints with https are verified.
	TLS OriginTLS `yaml:"tls"`
	// Limits bounds what the origin may send, and the connections to it.
	Limits OriginLimits `yaml:"limits" inherit:"limits.origin"`
	// Timeouts bounds the waits for the origin.
	Timeouts OriginTimeouts `yaml:"timeouts" inherit:"timeouts.origin"`
	// Retries says when a request is sent once more.
	Retries Retries `yaml:"retries"`
	// Health says how endpoints are watched.
	Health Unbuilt `yaml:"health" phase:"active health checks"`
}

// Endpoint is one address of an origin.
type Endpoint struct {
	// URL is http://host[:port], https://host[:port] or unix:/path, without a
	// path, query or user.
	URL URL `yaml:"url" required:"true"`
	// Weight is the endpoint's share of requests beside the others' with
	// balance weighted or round_robin.
	Weight int `yaml:"weight" default:"1" min:"1" max:"1000"`
}

// OriginTLS says how connections to endpoints with https are made.
type OriginTLS struct {
	// ServerName is the name asked for (SNI) and verified. Without it, the
	// host of the endpoint's URL.
	ServerName string `yaml:"server_name" shape:"hostname"`
	// CA is a PEM file of the authorities that may have signed the endpoint's
	// certificate. Without it, the system's.
	CA string `yaml:"ca" shape:"file"`
	// Cert is the PEM file of the certificate this node shows, if asked.
	Cert string `yaml:"cert" shape:"file"`
	// Key is the PEM file of that certificate's private key.
	Key string `yaml:"key" shape:"file"`
	// InsecureSkipVerify accepts any certificate. Then anybody on the way to
	// the origin can read and change everything.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify" default:"false"`
}

// OriginLimits bounds what an origin may send, and the connections to it.
type OriginLimits struct {
	// Connections is how many connections there may be to each endpoint at
	// once; requests beyond wait for one.
	Connections int `yaml:"connections" default:"4096" min:"1" max:"1000000"`
	// IdleConnections is how many of them are kept idle; never more than
	// connections.
	IdleConnections int `yaml:"idle_connections" default:"1024" min:"0" max:"1000000"`
	// Waiting is how many requests may wait for a connection to each endpoint;
	// more get 503.
	Waiting int `yaml:"waiting" default:"4096" min:"0" max:"1000000"`
	// HeaderBytes is the longest header section; longer ones give 502.
	HeaderBytes Size `yaml:"header_bytes" default:"64KiB" min:"1KiB" max:"16MiB"`
	// HeaderFields is how many field lines a header section may have; more
	// give 502.
	HeaderFields int `yaml:"header_fields" default:"200" min:"8" max:"10000"`
	// TrailerBytes is the longest trailer section.
	TrailerBytes Size `yaml:"trailer_bytes" default:"8KiB" min:"64B" max:"16MiB"`
	// ChunkLine is the longest line that opens a chunk, extensions included.
	ChunkLine Size `yaml:"chunk_line" default:"1KiB" min:"32B" max:"64KiB"`
	// Interims is how many interim (1xx) responses may come before the final
	// one; more give 502.
	Interims int `yaml:"interims" default:"16" min:"1" max:"1000"`
}

// OriginTimeouts bounds the waits for an origin.
type OriginTimeouts struct {
	// Wait is how long a request may wait for a connection where there are as
	// many as limits.connections allows; then 503.
	Wait time.Duration `yaml:"wait" default:"5s" min:"1ms" max:"10m"`
	// Connect is how long resolving the name and connecting may take.
	Connect time.Duration `yaml:"connect" default:"5s" min:"1ms" max:"10m"`
	// TLS is how long the TLS handshake may take.
	TLS time.Duration `yaml:"tls" default:"5s" min:"1ms" max:"10m"`
	// Write is how long the writing of a request may make no progress.
	Write time.Duration `yaml:"write" default:"30s" min:"1ms" max:"1h"`
	// FirstByte is how long the response's head may take once the request was
	// sent; then 504.
	FirstByte time.Duration `yaml:"first_byte" default:"60s" min:"1ms" max:"1h"`
	// BetweenBytes is how long a response's body may make no progress.
	BetweenBytes time.Duration `yaml:"between_bytes" default:"30s" min:"1ms" max:"1h"`
	// Idle is how long an unused connection is kept.
	Idle time.Duration `yaml:"idle" default:"60s" min:"1ms" max:"1d"`
	// Lifetime is how old a connection may be when it is used again: what the
	// origin's name resolves to is noticed that late.
	Lifetime time.Duration `yaml:"lifetime" default:"1h" none:"no limit" min:"1s" max:"30d"`
}

// Retries says when a request to an origin is sent once more. Only what can be
// replayed is: a request without a body or with one still held, whose method is
// idempotent or which the origin cannot have seen.
type Retries struct {
	// Attempts is how many times a request is tried in all, on different
	// endpoints where there are several.
	Attempts int `yaml:"attempts" default:"3" min:"1" max:"10"`
}

// Cache is the store that all routes share.
type Cache struct {
	// Memory is the memory tier.
	Memory Memory `yaml:"memory"`
	// Window is how much of a body that the store cannot keep is held for the
	// clients that are reading it together; never more than half of
	// cache.memory.size.
	Window Size `yaml:"window" default:"4MiB" min:"64KiB" max:"1GiB"`
	// Disk is the disk tier: what is stored outlives the process. Responses are
	// spread over the disks by their keys, in proportion to size.
	Disk []Disk `yaml:"disk"`
	// FlushInterval is how long what was stored may wait in memory before it is
	// written to its disk; from then on it survives the end of the process,
	// however it ends.
	FlushInterval time.Duration `yaml:"flush_interval" default:"1s" min:"10ms" max:"1m"`
	// SyncInterval is how long what was written may wait before the disk is
	// told to make it last; from then on it survives power loss.
	SyncInterval time.Duration `yaml:"sync_interval" default:"10s" min:"10ms" max:"10m"`
	// Admission says what the disks take.
	Admission Admission `yaml:"admission"`
}

// Disk is one of the directories of the disk tier.
type Disk struct {
	// Path is the directory, created if it is not there, for this process alone.
	Path string `yaml:"path" required:"true" shape:"file"`
	// Size is how many bytes its files may take up.
	Size Size `yaml:"size" required:"true" min:"16MiB" max:"1024TiB"`
}

// Admission says what the disk tier takes. Until then a response is in memory only,
// if it is small enough.
type Admission struct {
	// MinUses is how often a response must have been used, that is fetched from
	// its origin or found in memory, for the disks to take it. 1: at once. Once a
	// disk is full it is 2 at least, for what memory can hold until then: so what
	// is asked for once pushes nothing out.
	MinUses int `yaml:"min_uses" default:"1" min:"1" max:"100"`
}

// Memory is the memory tier.
type Memory struct {
	// Size is how many bytes stored responses may take up, bookkeeping
	// included.
	Size Size `yaml:"size" default:"256MiB" min:"1MiB" max:"16TiB"`
	// MaxObject is the largest response kept in memory. Where it is absent: an
	// eighth of size, or 1GiB where that is less.
	MaxObject Size `yaml:"max_object" min:"1KiB"`
}

// Route says which origin answers a set of requests, and how it is cached.
type Route struct {
	// Match says which requests take this route.
	Match Match `yaml:"match" required:"true"`
	// Origin is the name of the origin that answers.
	Origin string `yaml:"origin" required:"true"`
	// RequestDirectives says whether the Cache-Control of requests counts.
	// only-if-cached always does; the others are advisory (RFC 9111 section
	// 5.2.1) and would let any client empty the cache.
	RequestDirectives string `yaml:"request_directives" default:"ignore" enum:"ignore,obey"`
	// Targeted are the targeted cache control fields (RFC 9213) heard, in
	// order: the first that a response carries rules in place of
	// Cache-Control. An empty list: none is heard.
	Targeted []FieldName `yaml:"targeted" default:"CDN-Cache-Control"`
	// Cache says how answers are stored and reused.
	Cache RouteCache `yaml:"cache"`
	// Strip says what is taken from requests: it neither reaches the origin nor
	// tells stored answers apart.
	Strip Strip `yaml:"strip"`
	// KeepForwarded forwards the request fields that origins tend to trust,
	// X-Forwarded-* and their like, as the client sent them, and makes them
	// part of the key. Where false, they are removed or set by this node.
	KeepForwarded bool `yaml:"keep_forwarded" default:"false"`
	// Upgrade lets requests on this route upgrade their connection, as for
	// WebSocket. Where false, Upgrade is not forwarded.
	Upgrade bool `yaml:"upgrade" default:"true"`
	// Limits bounds what this route takes.
	Limits Unbuilt `yaml:"limits" phase:"limits per route"`
	// Timeouts are the route's own in place of the origin's.
	Timeouts Unbuilt `yaml:"timeouts" phase:"timeouts per route"`
	// KeepTargeted forwards to clients the fields that targeted lists.
	KeepTargeted bool `yaml:"keep_targeted" default:"true"`
	// KeepTags forwards to clients the fields that purge tags are in.
	KeepTags bool `yaml:"keep_tags" default:"false"`
	// TagFields are more response fields with purge tags, separated by spaces
	// or commas, beside Surrogate-Key and Cache-Tag.
	TagFields []FieldName `yaml:"tag_fields"`
	// Purge says who may purge by sending the method PURGE to a URL of this
	// route; others get 405. Where it is absent, everybody does.
	Purge RoutePurge `yaml:"purge"`
}

// RoutePurge says who may use the method PURGE.
type RoutePurge struct {
	// Addresses are the addresses or CIDR prefixes that a connection may come
	// from; what other proxies say of the client does not count.
	Addresses []Prefix `yaml:"addresses"`
	// Tokens lets clients purge that send a token of admin.tokens_file with the
	// scope purge, as Authorization: Bearer.
	Tokens bool `yaml:"tokens" default:"false"`
}

// Match says which requests take a route. What is absent matches everything.
type Match struct {
	// Host is the host asked for, without port: a name, or *.name for every
	// name below it. Compared without regard to case.
	Host HostPattern `yaml:"host"`
	// Path is the path asked for, byte for byte as it came: a path, or the
	// start of one followed by *.
	Path PathPattern `yaml:"path" default:"/*"`
}

// RouteCache says how a route's answers are stored and reused. Durations under
// ttl and stale apply where the origin says nothing; those that begin with max
// cap what it says.
type RouteCache struct {
	// Enabled says whether anything is stored or answered from the store.
	Enabled bool `yaml:"enabled" default:"true"`
	// Key says what makes two requests the same beyond scheme, authority, path
	// and query.
	Key Key `yaml:"key"`
	// TTL is how long answers are fresh.
	TTL TTL `yaml:"ttl"`
	// MaxTTL caps the freshness lifetimes that origins give or Last-Modified
	// suggests.
	MaxTTL time.Duration `yaml:"max_ttl" default:"none" none:"no cap" min:"0" max:"36500d"`
	// HeuristicMax caps the freshness lifetime guessed from Last-Modified (RFC
	// 9111 section 4.2.2).
	HeuristicMax time.Duration `yaml:"heuristic_max" default:"1d" min:"0" max:"36500d"`
	// HitForMiss is how long it is remembered that a key's answers cannot be
	// shared, so that nobody waits for another's.
	HitForMiss time.Duration `yaml:"hit_for_miss" default:"30s" min:"0" max:"1d"`
	// Override makes ttl, for the answers it speaks of, replace what the origin
	// says instead of filling in, no-store, no-cache and private included; and
	// for the same answers stale, where none then means not at all.
	Override bool `yaml:"override" default:"false"`
	// Stale says when stale answers are given.
	Stale Stale `yaml:"stale"`
	// Lock says how requests wait for one fetch instead of each making one.
	Lock Lock `yaml:"lock"`
	// MaxObject is the largest response that this route stores, beside the
	// store's own limit.
	MaxObject Size `yaml:"max_object" default:"none" none:"no limit but the store's" min:"1B"`
	// SetCookie says what becomes of answers that carry Set-Cookie: default
	// stores them only where public, s-maxage or a targeted field says that
	// they may be shared, and then repeats the cookie to everybody; strip
	// stores them without Set-Cookie; store stores and repeats them as they
	// are.
	SetCookie string `yaml:"set_cookie" default:"default" enum:"default,strip,store"`
	// Bypass says which requests go to the origin as if nothing were stored,
	// and whose answers are not stored: those to which any of it applies.
	Bypass Bypass `yaml:"bypass"`
	// MinUses is how often something must be asked for, within
	// min_uses_window, before it is stored; the request whose answer is stored
	// is one of them. Until then nobody waits for another's fetch.
	MinUses int `yaml:"min_uses" default:"1" min:"1" max:"1000"`
	// MinUsesWindow is how long a request for something counts towards
	// min_uses. How much is counted is bounded: among very many things that
	// are asked for once, some are forgotten sooner.
	MinUsesWindow time.Duration `yaml:"min_uses_window" default:"1h" min:"1s" max:"30d"`
	// QueryContent is the longest body of a QUERY request (RFC 10008) whose
	// answer is stored. It is held in memory until the answer has come, and is
	// part of the key; longer ones are passed on.
	QueryContent Size `yaml:"query_content" default:"64KiB" min:"0" max:"16MiB"`
}

// Bypass says which requests go to the origin as if nothing were stored. They
// are judged as they came, before strip and key take anything from them.
type Bypass struct {
	// Cookies are the cookies that make a request bypass, each a name, or the
	// start of one followed by *.
	Cookies []NamePattern `yaml:"cookies"`
	// Fields are the request fields that do.
	Fields []FieldMatch `yaml:"fields"`
	// Query are the parameters of the query that do, written as cookies are.
	Query []NamePattern `yaml:"query"`
}

// FieldMatch names a request field.
type FieldMatch struct {
	// Name is the field's name, in any case.
	Name FieldName `yaml:"name" required:"true"`
	// Value is what one of the field's lines must be, byte for byte. Without
	// it, any value will do.
	Value string `yaml:"value" shape:"fieldvalue"`
}

// Strip says what is taken from requests before anything else looks at it.
type Strip struct {
	// Fields are request fields that are removed.
	Fields []FieldName `yaml:"fields" shape:"stripfield"`
	// Cookies are cookies that are removed, each a name, or the start of one
	// followed by *.
	Cookies []NamePattern `yaml:"cookies"`
}

// Key says what makes two requests the same.
type Key struct {
	// Query says which parameters count.
	Query KeyQuery `yaml:"query"`
	// Fields are request fields whose values are part of the key.
	Fields []FieldName `yaml:"fields" shape:"keyfield"`
	// Cookies are the cookies whose values are part of the key.
	Cookies []string `yaml:"cookies" shape:"token"`
	// NoVarySearch says whether the No-Vary-Search field of an answer counts
	// (draft-ietf-httpbis-no-vary-search): obey gives a stored answer to
	// requests whose query differs from its own only in what the field says
	// makes no difference. The origin is sent the query as it came.
	NoVarySearch string `yaml:"no_vary_search" default:"obey" enum:"obey,ignore"`
}

// KeyQuery says which query parameters are part of the key. The origin is sent
// the query that is in the key, so that what it sees is what is stored.
type KeyQuery struct {
	// Allow are the only parameters that count, each a name, or the start of
	// one followed by *.
	Allow []NamePattern `yaml:"allow"`
	// Drop are parameters that do not count, written likewise; "*" drops the
	// whole query. Not together with allow.
	Drop []NamePattern `yaml:"drop"`
	// Sort puts the parameters in order by name, keeping the order of those of
	// one name.
	Sort bool `yaml:"sort" default:"false"`
}

// TTL is how long answers are fresh where the origin does not say. Its other
// keys are status codes ("404": 10s), for answers with that status.
type TTL struct {
	// Default is for answers that a cache may store without being asked to:
	// those marked public and those with status 200, 203, 204, 206, 300, 301,
	// 308, 404, 405, 410, 414, 451 or 501 (RFC 9110 section 15.1).
	Default time.Duration `yaml:"default" default:"none" none:"only what the origin says, and the heuristics of RFC 9111 section 4.2.2" min:"0" max:"36500d"`
	// Status is for answers with that status, rather than default.
	Status map[int]time.Duration `yaml:",statuses" min:"0" max:"36500d"`
}

// Stale says when stale answers are given.
type Stale struct {
	// WhileRevalidate is how long beyond its freshness an answer is given
	// while a newer one is fetched (RFC 5861 section 3).
	WhileRevalidate time.Duration `yaml:"while_revalidate" default:"none" none:"only what the origin says" min:"0" max:"36500d"`
	// IfError is how long beyond its freshness an answer is given where the
	// origin answers with an error (RFC 5861 section 4).
	IfError time.Duration `yaml:"if_error" default:"none" none:"only what the origin says" min:"0" max:"36500d"`
	// Disconnected is how long beyond its freshness an answer is given where
	// the origin cannot be reached, unless a directive forbids it (RFC 9111
	// section 4.2.4).
	Disconnected time.Duration `yaml:"disconnected" default:"1h" min:"0" max:"36500d"`
	// MaxWhileRevalidate caps the stale-while-revalidate that origins give.
	MaxWhileRevalidate time.Duration `yaml:"max_while_revalidate" default:"none" none:"no cap" min:"0" max:"36500d"`
	// MaxIfError caps the stale-if-error that origins give.
	MaxIfError time.Duration `yaml:"max_if_error" default:"none" none:"no cap" min:"0" max:"36500d"`
}

// Lock says how requests for one thing wait for one fetch.
type Lock struct {
	// Wait is how long a request waits for another's fetch to show an answer.
	Wait time.Duration `yaml:"wait" default:"5s" min:"0" max:"10m"`
	// Age is how old a fetch without an answer may be before another request
	// starts its own.
	Age time.Duration `yaml:"age" default:"30s" min:"1ms" max:"1h"`
	// Alone is how many requests at once, for each key, fetch alone when their
	// wait is over; the others get what is stale, or 504.
	Alone int `yaml:"alone" default:"8" min:"0" max:"10000"`
	// Waiting is how many requests may wait for each key; more are treated as
	// if their wait were over.
	Waiting int `yaml:"waiting" default:"16384" min:"0" max:"1000000"`
	// Tries is how many failed fetches of others a request outlives before it
	// fails as they did.
	Tries int `yaml:"tries" default:"2" min:"0" max:"100"`
}

// Logging is where the process and its exchanges are recorded.
type Logging struct {
	// Level is the least severe kind of message in the process's own log,
	// which goes to standard error.
	Level string `yaml:"level" default:"info" enum:"debug,info,warn,error"`
	// Access is the log of exchanges. Without it there is none.
	Access *AccessLog `yaml:"access"`
}

// AccessLog is the log of exchanges. It is written beside them and never slows
// them: what does not fit its buffer is dropped and counted.
type AccessLog struct {
	// Path is stdout, stderr or a file, which is appended to.
	Path string `yaml:"path" default:"stdout" shape:"output"`
	// Format is how each exchange is written: json is an object a line.
	Format string `yaml:"format" default:"json" enum:"json" later:"combined"`
	// Buffer is how many entries may wait to be written.
	Buffer int `yaml:"buffer" default:"8192" min:"16" max:"1000000"`
}

// Shutdown is how the process ends.
type Shutdown struct {
	// Grace is how long the exchanges in progress may go on after SIGTERM; the
	// process exits at once when there are none.
	Grace time.Duration `yaml:"grace" default:"30s" min:"0" max:"1d"`
}

// Unbuilt is the place of a key that the plan has but whose room is not built
// yet: wherever it is used, it is refused with its line.
type Unbuilt struct{}
