/* world_internal.h: the world's insides, shared by its files:
 *
 *   world.c        life, the events' turn, what world.h offers
 *   machine.c      slots: clocks, disks, what a power loss takes, supervision
 *   process.c      an actor's life and its turns
 *   local.c        links between the actors of a node, as actors/mail.c makes them
 *   network.c      links between nodes, as TCP under DEALER and ROUTER makes them
 *   connections.c  users' connections to gateways
 *   operator.c     who runs the cluster: lets nodes join, asks for changes of membership, replaces
 *                  what is broken for good
 *   faults.c       carries out the schedule (schedule.h)
 *   settle.c       after the faults: is the cluster whole again, and does it serve?
 */
#ifndef DRAX_TESTS_SIM_WORLD_INTERNAL_H
#define DRAX_TESTS_SIM_WORLD_INTERNAL_H

#include "actors/gateway_internal.h"
#include "actors/raft_actor_internal.h"
#include "actors/storage_internal.h"
#include "broker/codec.h"
#include "tests/sim/answer.h"
#include "tests/sim/checks.h"
#include "tests/sim/disk.h"
#include "tests/sim/events.h"
#include "tests/sim/letter.h"
#include "tests/sim/message_text.h"
#include "tests/sim/run.h"
#include "tests/sim/schedule.h"
#include "tests/sim/users.h"
#include "tests/sim/world.h"

#define WORLD_CLIENT_SLOTS WORLD_SLOTS
#define WORLD_OUTLETS 32u
#define WORLD_ACTORS 3u
#define WORLD_PROCESSES (WORLD_SLOTS * WORLD_ACTORS)
#define WORLD_STALE 16u
#define WORLD_TASKS 8u

/* ---- processes ---- */

/* An actor of the same node, as one process knows it. */
typedef struct neighbour {
    uint64_t boot;    /* 0: not there */
    bool knows;       /* it has spoken to this boot */
    uint64_t last_us; /* when the last letter to it arrives: order is kept */
} neighbour_t;

typedef struct process {
    world_t *world;
    struct machine *machine;
    actor_t actor;
    const actor_ops_t *ops;
    bool alive;
    uint64_t life; /* how often it was started */
    uint64_t boot;
    void *self; /* one of the next three */
    storage_actor_t *storage;
    raft_actor_t *raft;
    gateway_actor_t *gateway;
    post_t post;
    log_t log;

    letterbox_t letters;
    neighbour_t neighbours[ACTOR_END];
    uint64_t hello_ms;    /* when HELLO is due, by the machine's clock */
    uint64_t deadline_us; /* when a turn must be, apart from letters */
    uint64_t *due_us;     /* the turn that is planned: in world.due_us; UINT64_MAX: none */
    uint64_t busy_us;     /* until then it is at work */
    uint64_t paused_us;   /* until then it is stopped (SIGSTOP) */
    uint64_t pauses_us;   /* all such times, the present one to its end */
    uint64_t took_us;     /* so far in this turn */
    bool stopping;        /* SIGTERM was sent */
    bool job_planned[2];  /* of storage's flusher and reserver */

    uint32_t backoff_ms; /* as the supervisor counts */
    uint64_t ready_us;   /* 0: not ready yet */
    uint64_t restarts;   /* number of the restart that is planned */
} process_t;

/* ---- machines ---- */

/* A connection of a raft process to a peer's address. */
typedef struct outlet {
    uint64_t peer; /* id; 0: free */
    unsigned slot; /* where its address leads */
    bool wanted, up;
    bool gone;       /* nobody is at that address any more */
    uint64_t life;   /* of the raft process at the other end */
    uint64_t number; /* of the attempt or check that is planned */
} outlet_t;

typedef struct join {
    uint64_t connection;
    uint32_t msgid;
    unsigned next;
    uint64_t deadline_us;
} join_t;

typedef struct machine {
    world_t *world;
    unsigned slot;
    char addr[24], raft_addr[24];
    bool inhabited; /* a node is to run here */
    bool founds;    /* it is the first of the cluster; else it joins */
    bool down;      /* switched off, or being started */
    uint64_t downs; /* number of the start that is planned */
    bool silent;    /* it loses its power: no connection is closed, they only fall silent */
    bool stopping;
    uint64_t stop_us; /* when what still lives is killed */
    uint64_t stop_down_us;
    fs_crash_t stop_how; /* what disk_stop stands for */
    bool stop_power;     /* it takes the whole machine; else the storage process */
    uint64_t stop_for_us;
    disk_t *disk;
    unsigned disks; /* replaced so often */
    unsigned refusals;
    unsigned moves; /* to other addresses */
    uint64_t node;  /* its id; 0: not known, or none */
    /* Those that a crash can take it back to, oldest first: the last one on its disk, and all later
     * ones in its core's log. While the log has none, what it was told as it joined. */
    config_t *configs;
    size_t config_count, config_capacity;
    uint64_t led_term, installed;   /* the last that were counted */
    bool lost;                      /* the disk's content is lost, or damaged for good */
    uint64_t clock_us, clock_at_us; /* its clock at that true time */
    uint32_t clock_rate;            /* in millionths */
    int64_t wall_us;                /* wall clock less monotonic clock */
    process_t processes[ACTOR_END];
    outlet_t outlets[WORLD_OUTLETS]; /* of the present raft process */
    join_t join;
} machine_t;

/* What the network does to messages from one slot to another. */
typedef struct link_state {
    bool cut;
    uint32_t loss, duplicate, reorder; /* of 1000 */
    uint32_t delay_us, jitter_us;
    uint64_t last_us; /* when the last message arrives: order is kept */
} link_state_t;

/* ---- connections of users ---- */

typedef struct connection {
    listener_t listener;
    unsigned slot;
    uint64_t life; /* of the gateway */
    bool open;
    uint64_t to_us, from_us; /* when the last payload arrives, each way */
} connection_t;

/* ---- the operator ---- */

typedef enum { TASK_NONE, TASK_REMOVE, TASK_PROMOTE, TASK_TRANSFER } task_kind_t;

/* A change asked for until a gateway says that it is done, or for good that it is not possible. */
typedef struct task {
    world_t *world;
    uint64_t number; /* of the step that is planned */
    task_kind_t kind;
    uint64_t id;   /* member; 0: any, for a transfer */
    unsigned slot; /* where the member lives; WORLD_SLOTS: nowhere */
    uint64_t connection;
    uint32_t msgid;
    unsigned next;
    uint64_t until_us;
} task_t;

/* A fault of the schedule that lasts. */
typedef struct lasting {
    bool active;
    bool flapped;
    uint32_t target, other; /* as they were found to be when it began */
} lasting_t;

typedef struct stale {
    frames_t frames;
    bool full;
} stale_t;

struct world {
    run_options_t options;
    const schedule_t *schedule;
    uint64_t now_us;
    uint64_t steps;
    events_t events;
    uint64_t due_us[WORLD_PROCESSES]; /* the processes' turns; apart from events for speed */
    stream_t random, damage;
    uint64_t hash;
    uint64_t letters;
    bool ending; /* being taken down */
    bool failed;
    char check[64], text[512];
    machine_t machines[WORLD_SLOTS];
    link_state_t links[WORLD_SLOTS][WORLD_SLOTS];
    connection_t *connections;
    size_t connection_count, connection_capacity;
    task_t tasks[WORLD_TASKS];
    stale_t stale[WORLD_STALE]; /* messages of the past, for cross-talk */
    size_t stale_next;
    frames_t frames;   /* scratch of the codec */
    message_t message; /* scratch of a delivery: cleared */
    lasting_t lasting[SCHEDULE_FAULTS];
    bool healed;
    bool settled; /* judged: the run is over */
    struct settle *settle;
    users_t *users;
    checks_t *checks;
    counts_t counts;
};

/* ---- world.c ---- */

void world_event(world_t *self, uint64_t at_us, void (*happen)(void *hint, uint64_t argument),
                 void *hint, uint64_t argument);
void world_event_owning(world_t *self, uint64_t at_us,
                        void (*happen)(void *hint, uint64_t argument), void (*discard)(void *hint),
                        void *hint);
/* A random time from now, from `low_us` to below `high_us`. */
uint64_t world_soon(world_t *self, uint64_t low_us, uint64_t high_us);
bool world_tracing(const world_t *self);

/* ---- machine.c ---- */

void machine_init(world_t *world, unsigned slot);
void machine_clear(machine_t *self);
uint64_t machine_clock_ms(const machine_t *self, uint64_t at_us);
/* The true time at which the machine's clock says `clock_ms` (UINT64_MAX stays that). */
uint64_t machine_when_us(const machine_t *self, uint64_t clock_ms);
uint64_t machine_boot_id(const machine_t *self);
void machine_clock_jump(machine_t *self, uint64_t ms);
/* Starts all of a node's processes, each after a moment of its own. */
void machine_start(machine_t *self, uint64_t after_us);
/* Ends all processes at once; `how` is what the disk keeps; on again after `for_us`. */
void machine_crash(machine_t *self, fs_crash_t how, uint64_t for_us);
/* SIGTERM to its supervisor; started again after `for_us`. */
void machine_stop(machine_t *self, uint64_t for_us);
/* Its processes die; it comes back at other addresses. */
void machine_move(machine_t *self, uint64_t for_us);
void machine_stop_step(machine_t *self);
/* An empty disk; nothing may run. */
void machine_wipe(machine_t *self);
/* After anything that used the disk: has the machine, or the process, stopped within it? */
bool machine_stopped_within(machine_t *self);
/* Ends pauses and waiting: what is not running is started now. */
void machine_resume(machine_t *self);
/* An empty disk under a node, which then joins. */
void machine_replace(machine_t *self, uint64_t for_us);
/* No node is to run here any more. */
void machine_leave(machine_t *self);
/* The supervisor's part: `process` has ended by itself. */
void machine_restart_plan(machine_t *self, process_t *process);

/* ---- process.c ---- */

process_t *world_process(const world_t *self, unsigned slot, actor_t actor);
void process_start(process_t *self);
/* The process is gone; its memory is taken down without touching the disk. */
void process_end(process_t *self, const char *why);
void process_plan(process_t *self); /* plans the next turn; after anything changed */
void process_turn(process_t *self);
/* SIGSTOP until then, and SIGCONT before. */
void process_pause(process_t *self, uint64_t until_us);
void process_resume(process_t *self);
void process_deliver(process_t *self, letter_t *letter, uint64_t arrive_us);

/* ---- local.c ---- */

void local_send(process_t *self, actor_t to, message_t *message);
void local_receive(process_t *self, message_t *message, uint64_t now_ms);
void local_turn(process_t *self, uint64_t now_ms);
uint64_t local_deadline_ms(const process_t *self);

/* ---- network.c ---- */

void network_init(world_t *self);
bool network_send(process_t *self, message_t *message); /* false: it did not leave */
void network_peers(process_t *self, uint64_t own, const config_t *config, const config_t *extra);
void network_raft_started(machine_t *self);
void network_raft_ended(machine_t *self);
/* Links were cut or mended: connections find out in time. */
/* It has other addresses: connections to those before lead nowhere. */
void network_moved(machine_t *self);
void network_changed(world_t *self);
/* The connections between two slots break, and are made again. */
void network_reset(world_t *self, unsigned a, unsigned b);
/* A message from the past, or of another cluster, comes from somewhere to somewhere. */
void network_crosstalk(world_t *self);
/* Puts the message through the codec; false: it must not be sent on (cleared, world failed). */
bool codec_roundtrip(world_t *self, message_t *message);

/* ---- connections.c ---- */

int connection_respond(void *hint, const envelope_t *envelope, slice_t response);
void connections_gateway_ended(machine_t *self);
void connections_break(machine_t *self);
void connections_clear(world_t *self);
void connection_receive(process_t *gateway, letter_t *letter, uint64_t now_ms);

/* ---- operator.c ---- */

void operator_join_step(process_t *raft);
uint64_t operator_join_deadline_us(const machine_t *self);
void operator_join_forget(machine_t *self);
/* After each turn of a raft process: who its node is, and who are members, as far as it knows. */
void operator_learn(process_t *raft);
/* Asks for a change, from `after_us` from now on. */
void operator_task(world_t *self, task_kind_t kind, uint64_t id, unsigned slot, uint64_t after_us);
bool operator_busy(const world_t *self);
/* Could the cluster do without the disk of `slot`, for good? */
bool operator_may_lose(const world_t *self, unsigned slot);
/* Has it joined, and does everybody know where everybody is? One node that is not where others look
 * for it finds them, half of them do not; and one that lost its disk as well would leave its old
 * self behind as a member. */
bool operator_may_move(const machine_t *self);
/* A storage process found its disk damaged, when it was `starting` or later. */
void operator_refused(machine_t *self, bool starting);
/* The slot whose node leads in the highest term; WORLD_SLOTS: none. */
unsigned operator_leader(const world_t *self);
uint64_t operator_node_id(const world_t *self, unsigned slot); /* 0: unknown */

/* ---- faults.c ---- */

void faults_plan(world_t *self);
void faults_heal(world_t *self);

/* ---- settle.c ---- */

void settle_begin(world_t *self);
void settle_clear(world_t *self);

#endif
