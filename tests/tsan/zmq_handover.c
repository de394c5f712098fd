/* zmq_handover.c: tells the thread sanitizer what ZeroMQ does: what was written before a message
 * was sent is seen by who received it.
 *
 * libzmq hands messages from thread to thread with atomic operations that the sanitizer cannot see,
 * as the library is not built with it, so it would take every payload that two actors share over
 * inproc for a race. Linked with --wrap in builds with -DDRAX_SANITIZE=thread alone. Every send
 * counts as before every receive that follows it in time, which hides no race on what is not sent
 * at all.
 */
#include <stdio.h>
#include <zmq.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

int __real_zmq_send(void *socket, const void *data, size_t size, int flags);
int __real_zmq_msg_send(zmq_msg_t *message, void *socket, int flags);
int __real_zmq_recv(void *socket, void *data, size_t size, int flags);
int __real_zmq_msg_recv(zmq_msg_t *message, void *socket, int flags);

/* Visible, as the linker also wraps the names that shared libraries look for in a program. */
#define VISIBLE __attribute__((visibility("default")))
VISIBLE int __wrap_zmq_send(void *socket, const void *data, size_t size, int flags);
VISIBLE int __wrap_zmq_msg_send(zmq_msg_t *message, void *socket, int flags);
VISIBLE int __wrap_zmq_recv(void *socket, void *data, size_t size, int flags);
VISIBLE int __wrap_zmq_msg_recv(zmq_msg_t *message, void *socket, int flags);

/* One address for every library and program of the process. */
#define HANDOVER ((void *) &stderr)

int __wrap_zmq_send(void *socket, const void *data, size_t size, int flags) {
    __tsan_release(HANDOVER);
    return __real_zmq_send(socket, data, size, flags);
}

int __wrap_zmq_msg_send(zmq_msg_t *message, void *socket, int flags) {
    __tsan_release(HANDOVER);
    return __real_zmq_msg_send(message, socket, flags);
}

int __wrap_zmq_recv(void *socket, void *data, size_t size, int flags) {
    int rc = __real_zmq_recv(socket, data, size, flags);
    __tsan_acquire(HANDOVER);
    return rc;
}

int __wrap_zmq_msg_recv(zmq_msg_t *message, void *socket, int flags) {
    int rc = __real_zmq_msg_recv(message, socket, flags);
    __tsan_acquire(HANDOVER);
    return rc;
}
