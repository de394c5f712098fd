/* test_endpoint.c: which addresses are taken, and the endpoints made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/endpoint.h"
#include "broker/error.h"

static void test_valid_addresses(void **state) {
    (void) state;
    const char *const valid[] = {"127.0.0.1:2380", "localhost:1",   "node-1.example.org:65535",
                                 "a_b:80",         "*:2380",        "0.0.0.0:2380",
                                 "[::1]:2380",     "[::]:2380",     "[fe80::1%eth0]:2380",
                                 "eth0:2380",      "3com.example:7"};
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++)
        if (!address_valid(valid[i]))
            fail_msg("%s is refused", valid[i]);
}

static void test_invalid_addresses(void **state) {
    (void) state;
    const char *const invalid[] = {"",
                                   ":",
                                   ":2380",
                                   "host",
                                   "host:",
                                   "host:0",
                                   "host:65536",
                                   "host:99999999999999999999",
                                   "host:-1",
                                   "host:+1",
                                   "host: 1",
                                   "host:01",
                                   "host:1x",
                                   "ho st:1",
                                   "host/path:1",
                                   "tcp://host:1",
                                   "::1:2380",
                                   "[::1]",
                                   "[]:1",
                                   "[::1:2380",
                                   "[::g]:2380",
                                   "[127.0.0.1]:1",
                                   "[::1%]:1",
                                   "[::1]]:1",
                                   "1.2.3:80",
                                   "256.0.0.1:80",
                                   "1.2.3.4.5:80",
                                   "**:1",
                                   "*.a:1",
                                   "-a:1",
                                   "a..b:1",
                                   ".a:1",
                                   "h\xc3\xa9:1",
                                   "host:1\n",
                                   "ho\nst:1",
                                   "host:1,b:2",
                                   "a;b:1"};
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++)
        if (address_valid(invalid[i]))
            fail_msg("%s is accepted", invalid[i]);
}

static void test_longest_address(void **state) {
    (void) state;
    char text[LIMIT_ADDR_BYTES + 2];
    memset(text, 'a', sizeof text);
    strcpy(text + 253, ":65535"); /* the longest name there is */
    assert_true(address_valid(text));
    memset(text, 'a', sizeof text);
    strcpy(text + 254, ":65535");
    assert_false(address_valid(text));
    memset(text, 'a', sizeof text);
    strcpy(text + LIMIT_ADDR_BYTES - 2, ":1"); /* no room for the NUL */
    assert_false(address_valid(text));
}

static void test_port(void **state) {
    (void) state;
    char out[LIMIT_ADDR_BYTES];
    assert_int_equal(address_port("host:2380"), 2380);
    assert_int_equal(address_port("[::1]:65535"), 65535);
    assert_int_equal(address_port("host"), 0);
    assert_int_equal(address_with_port(out, "[::1]:2380", 2381), 0);
    assert_string_equal(out, "[::1]:2381");
    assert_int_equal(address_with_port(out, "h:1", 65535), 0);
    assert_string_equal(out, "h:65535");
    assert_int_equal(address_with_port(out, "h:1", 65536), DRAX_EINVAL);
    assert_int_equal(address_with_port(out, "h:1", 0), DRAX_EINVAL);
    assert_int_equal(address_with_port(out, "h", 1), DRAX_EINVAL);
}

static void test_wildcard(void **state) {
    (void) state;
    assert_true(address_wildcard("*:1"));
    assert_true(address_wildcard("0.0.0.0:1"));
    assert_true(address_wildcard("[::]:1"));
    assert_true(address_wildcard("[0::0]:1"));
    assert_false(address_wildcard("[::1]:1"));
    assert_false(address_wildcard("127.0.0.1:1"));
    assert_false(address_wildcard("localhost:1"));
    assert_false(address_wildcard("*"));
    assert_true(address_ipv6("[::1]:1"));
    assert_false(address_ipv6("localhost:1"));
}

static void test_endpoints(void **state) {
    (void) state;
    char out[ENDPOINT_BYTES];
    endpoint_tcp(out, "node1:2381");
    assert_string_equal(out, "tcp://node1:2381");
    endpoint_ipc(out, ACTOR_RAFT);
    assert_string_equal(out, "ipc://run/raft.ipc");
    endpoint_inproc(out, "a", ACTOR_STORAGE);
    assert_string_equal(out, "inproc://drax-a-storage");
    char name[ENDPOINT_NAME_BYTES];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    endpoint_inproc(out, name, ACTOR_SUPERVISOR);
    assert_int_equal(strlen(out), strlen("inproc://drax--supervisor") + strlen(name));
}

static void test_bind_endpoints(void **state) {
    (void) state;
    char out[ENDPOINT_BYTES];
    endpoint_tcp_bind(out, "0.0.0.0:2380");
    assert_string_equal(out, "tcp://0.0.0.0:2380");
    endpoint_tcp_bind(out, "*:2380");
    assert_string_equal(out, "tcp://*:2380");
    endpoint_tcp_bind(out, "[::1]:2380");
    assert_string_equal(out, "tcp://[::1]:2380");
    endpoint_tcp_bind(out, "localhost:2380"); /* from /etc/hosts, no network */
    assert_string_equal(out, "tcp://127.0.0.1:2380");
    endpoint_tcp_bind(out, "no_such_interface.invalid:2380");
    assert_string_equal(out, "tcp://no_such_interface.invalid:2380");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_addresses), cmocka_unit_test(test_invalid_addresses),
        cmocka_unit_test(test_longest_address), cmocka_unit_test(test_port),
        cmocka_unit_test(test_wildcard),        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_bind_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
