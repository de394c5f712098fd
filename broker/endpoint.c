/* endpoint.c: addresses taken apart and put together.
 *
 *   address = host ":" port
 *   host    = "*" | name | IPv4 | "[" IPv6 [ "%" zone ] "]"
 *   name    = labels of letters, digits, "-" and "_", joined by "."; not digits and dots alone
 *   port    = 1 to 65535, decimal, without sign or leading zero
 *
 * Knows nothing of sockets; only endpoint_tcp_bind asks the resolver.
 */
#include "broker/endpoint.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "broker/error.h"

#define DIGITS "0123456789"
#define NAME_CHARACTERS DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."
#define NAME_BYTES_MAX 253 /* RFC 1035 */

typedef struct {
    char host[LIMIT_ADDR_BYTES]; /* as written, brackets included */
    unsigned port;
} address_t;

static bool address_split(address_t *out, const char *text);
static unsigned port_parse(const char *text);
static bool host_valid(const char *host);
static bool host_ipv6_valid(const char *host);
static bool host_numeric(const char *host);

bool address_valid(const char *text) {
    address_t address;
    return address_split(&address, text);
}

int address_with_port(char out[LIMIT_ADDR_BYTES], const char *address, unsigned port) {
    address_t parts;
    if (port < 1 || port > 65535 || !address_split(&parts, address))
        return DRAX_EINVAL;
    int length = snprintf(out, LIMIT_ADDR_BYTES, "%s:%u", parts.host, port);
    return length > 0 && (size_t) length < LIMIT_ADDR_BYTES ? 0 : DRAX_EINVAL;
}

unsigned address_port(const char *address) {
    address_t parts;
    return address_split(&parts, address) ? parts.port : 0;
}

bool address_wildcard(const char *address) {
    address_t parts;
    if (!address_split(&parts, address))
        return false;
    struct in6_addr any;
    size_t size = strlen(parts.host);
    if (parts.host[0] == '[') {
        parts.host[size - 1] = '\0';
        return inet_pton(AF_INET6, parts.host + 1, &any) == 1 && IN6_IS_ADDR_UNSPECIFIED(&any);
    }
    return strcmp(parts.host, "*") == 0 || strcmp(parts.host, "0.0.0.0") == 0;
}

bool address_ipv6(const char *address) {
    return address[0] == '[';
}

void endpoint_tcp(char out[ENDPOINT_BYTES], const char *address) {
    int length = snprintf(out, ENDPOINT_BYTES, "tcp://%s", address);
    assert(length > 0 && (size_t) length < ENDPOINT_BYTES);
}

void endpoint_tcp_bind(char out[ENDPOINT_BYTES], const char *address) {
    endpoint_tcp(out, address);
    address_t parts;
    if (!address_split(&parts, address) || host_numeric(parts.host))
        return;
    /* IPv4 first: that is where ZeroMQ connects when it is given the same name. */
    const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct addrinfo hints = {.ai_family = families[i], .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        char host[LIMIT_ADDR_BYTES];
        if (getaddrinfo(parts.host, NULL, &hints, &found) != 0)
            continue;
        int rc = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0,
                             NI_NUMERICHOST);
        freeaddrinfo(found);
        if (rc != 0)
            continue;
        const char *form = families[i] == AF_INET6 ? "tcp://[%s]:%u" : "tcp://%s:%u";
        int length = snprintf(out, ENDPOINT_BYTES, form, host, parts.port);
        assert(length > 0 && (size_t) length < ENDPOINT_BYTES);
        return;
    }
}

void endpoint_ipc(char out[ENDPOINT_BYTES], actor_t actor) {
    int length = snprintf(out, ENDPOINT_BYTES, "ipc://run/%s.ipc", actor_name(actor));
    assert(length > 0 && (size_t) length < ENDPOINT_BYTES);
}

void endpoint_inproc(char out[ENDPOINT_BYTES], const char *name, actor_t actor) {
    assert(strlen(name) < ENDPOINT_NAME_BYTES);
    int length = snprintf(out, ENDPOINT_BYTES, "inproc://drax-%s-%s", name, actor_name(actor));
    assert(length > 0 && (size_t) length < ENDPOINT_BYTES);
}

static bool address_split(address_t *out, const char *text) {
    const char *colon = strrchr(text, ':');
    size_t size = strnlen(text, LIMIT_ADDR_BYTES);
    if (!colon || size == LIMIT_ADDR_BYTES)
        return false;
    size_t host_size = (size_t) (colon - text);
    memcpy(out->host, text, host_size);
    out->host[host_size] = '\0';
    out->port = port_parse(colon + 1);
    return out->port != 0 && host_valid(out->host);
}

static unsigned port_parse(const char *text) {
    size_t size = strlen(text);
    if (size < 1 || size > 5 || text[0] == '0' || strspn(text, DIGITS) != size)
        return 0;
    unsigned port = 0;
    for (; *text; text++)
        port = port * 10 + (unsigned) (*text - '0');
    return port <= 65535 ? port : 0;
}

static bool host_valid(const char *host) {
    size_t size = strlen(host);
    struct in_addr ipv4;
    if (host[0] == '[')
        return host_ipv6_valid(host);
    if (strcmp(host, "*") == 0)
        return true;
    if (size < 1 || size > NAME_BYTES_MAX || strspn(host, NAME_CHARACTERS) != size)
        return false;
    if (strspn(host, DIGITS ".") == size)
        return inet_pton(AF_INET, host, &ipv4) == 1;
    return host[0] != '-' && host[0] != '.' && !strstr(host, "..");
}

/* In brackets; ZeroMQ understands a zone (fe80::1%eth0) for link-local addresses. */
static bool host_ipv6_valid(const char *host) {
    size_t size = strlen(host);
    struct in6_addr ipv6;
    char text[LIMIT_ADDR_BYTES];
    if (size < 4 || host[size - 1] != ']')
        return false;
    memcpy(text, host + 1, size - 2);
    text[size - 2] = '\0';
    char *zone = strchr(text, '%');
    if (zone) {
        *zone++ = '\0';
        size_t zone_size = strlen(zone);
        if (zone_size < 1 || strspn(zone, NAME_CHARACTERS) != zone_size)
            return false;
    }
    return inet_pton(AF_INET6, text, &ipv6) == 1;
}

/* Needs no resolver: in brackets, every interface, or IPv4. */
static bool host_numeric(const char *host) {
    return host[0] == '[' || strcmp(host, "*") == 0 || strspn(host, DIGITS ".") == strlen(host);
}
