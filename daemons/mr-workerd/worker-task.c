/*
 * Task processes — see worker-task.h.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/cause.h"
#include "mr-workerd/worker-orphans.h"
#include "mr-workerd/worker-task.h"
#include "platform/log.h"
#include "platform/packet.h"
#include "platform/service.h"
#include "platform/spawn.h"
#include "platform/task-process.h"

#define PRESTART 2
#define PRESTART_ONE_JOB                                                                           \
        1 /* a job of one line runs all it has in one; others start more on demand */
/* A process whose socket is closed ends by itself, with all it started; after this it is killed. */
#define END_GRACE_USEC (1 * USEC_PER_SEC)
/* Between two sweeps for orphans, while there are any. */
#define ORPHANS_USEC (20 * USEC_PER_MSEC)

typedef enum ProcessState {
        PROCESS_FRESH,
        PROCESS_BUSY,
        PROCESS_WARM,
        PROCESS_ENDING,
} ProcessState;

typedef struct Process {
        TaskPool *pool;
        ProcessState state;
        bool remote; /* the service manager's child: known by its socket alone, and pid is 0 */
        pid_t pid;
        int fd;
        struct event *readable;
        sd_event_source *child;
        LoopTimer *grace;
        char *job_id;   /* NULL while FRESH */
        TaskSlot *slot; /* while BUSY */
        bool worked;    /* ENDING, and was BUSY until then */
} Process;

struct TaskSlot {
        TaskPool *pool;
        char *job_id;
        TaskSlotHandlers handlers;
        void *userdata;
        GList link; /* in the queue */
        bool queued;
        Process *process;
};

struct TaskPool {
        Loop *loop;
        uint32_t slots, busy, living; /* living: FRESH, BUSY and WARM */
        uint32_t prestart;
        char *helper;         /* the program, or NULL: they are reached at */
        char *socket;         /* where each connection is one */
        GPtrArray *processes; /* of Process; ENDING ones, too */
        GQueue queue;         /* of TaskSlot */
        struct event *dispatch;
        LoopTimer *orphans;
        uint8_t *packet; /* of PACKET_MAX_BYTES */
        void (*on_changed)(void *userdata);
        void *userdata;
};

static void process_free(gpointer data)
{
        Process *p = data;

        if (p->readable)
                event_free(p->readable);
        sd_event_source_disable_unref(p->child);
        loop_timer_free(p->grace);
        safe_close(p->fd);
        g_free(p->job_id);
        g_free(p);
}

static void process_kill(Process *p)
{
        if (p->pid > 0)
                (void) kill(-p->pid, SIGKILL);
}

static void schedule(TaskPool *pool)
{
        event_active(pool->dispatch, EV_TIMEOUT, 1);
}

static void set_busy(TaskPool *pool, uint32_t busy)
{
        pool->busy = busy;
        if (pool->on_changed)
                pool->on_changed(pool->userdata);
}

static void process_close_socket(Process *p)
{
        if (p->readable)
                event_free(p->readable);
        p->readable = NULL;
        p->fd = safe_close(p->fd);
}

/* A remote process learns that it is over from our half of its socket, and we that it is gone from
 * its. */
static void process_close_link(Process *p)
{
        if (p->remote)
                (void) shutdown(p->fd, SHUT_WR);
        else
                process_close_socket(p);
}

/* From here on the process counts as nobody's; it is freed once it is reaped. The end of its socket
 * tells it to end with all it started, which a killed one could not. */
static void process_end(Process *p)
{
        if (p->state == PROCESS_ENDING)
                return;
        if (p->state == PROCESS_BUSY) {
                p->slot->process = NULL;
                p->slot = NULL;
                p->worked = true;
                set_busy(p->pool, p->pool->busy - 1);
        }
        p->state = PROCESS_ENDING;
        p->pool->living--;
        process_close_link(p);
        loop_timer_start(p->grace, END_GRACE_USEC);
        schedule(p->pool);
}

/* The last word of a remote process: its socket has ended. */
static void process_gone(Process *p, const char *how)
{
        TaskPool *pool = p->pool;

        if (p->state != PROCESS_ENDING) {
                TaskSlot *slot = p->slot;

                process_end(p);
                if (slot)
                        slot->handlers.on_lost(how, CAUSE_TASK_ENDED, slot->userdata);
        }
        g_ptr_array_remove_fast(pool->processes, p);
}

/* One that does not end by itself is killed: ours by us, a remote one by its own watch, and by its
 * unit. */
static void on_grace_over(void *userdata)
{
        Process *p = userdata;

        if (!p->remote)
                process_kill(p);
        else
                g_ptr_array_remove_fast(p->pool->processes, p);
}

static char *describe_end(const siginfo_t *si)
{
        const char *name;

        if (si->si_code == CLD_EXITED)
                return g_strdup_printf("exited with status %d", si->si_status);
        name = sigabbrev_np(si->si_status);
        return name ? g_strdup_printf("was killed by SIG%s", name)
                    : g_strdup_printf("was killed by signal %d", si->si_status);
}

static const char *cause_of_end(const siginfo_t *si)
{
        if (si->si_code == CLD_EXITED)
                return CAUSE_COMMAND_FAILED;
        return si->si_status == SIGKILL ? CAUSE_COMMAND_KILLED : CAUSE_COMMAND_CRASHED;
}

/* One message; false when there is no more to be read now. */
static bool read_message(Process *p)
{
        Mapreduced__Task__V1__FromTask *m = NULL;
        int fds[PACKET_MAX_FDS];
        size_t fd_count = 0;
        ssize_t n;

        n = packet_recv(p->fd, p->pool->packet, fds, &fd_count);
        if (n == -EAGAIN)
                return false;
        while (n > 0 && fd_count > 0) /* none is expected, so none is kept */
                safe_close(fds[--fd_count]);
        if (n > 0)
                m = mapreduced__task__v1__from_task__unpack(NULL, (size_t) n, p->pool->packet);
        if (!m && p->remote) {
                process_gone(p,
                             n < 0 ? "sent what is no message"
                                   : "has ended, or was killed: its unit in mapreduced-tasks.slice "
                                     "says more (journalctl -t mr-task)");
                return false;
        }
        if (!m) {
                /* The end, or nonsense: either way it is over. Its exit, soon to come, says why. */
                process_close_socket(p);
                if (n == 0)
                        loop_timer_start(p->grace, END_GRACE_USEC);
                else
                        process_kill(p);
                return false;
        }
        if (p->state == PROCESS_BUSY)
                p->slot->handlers.on_message(m, p->slot->userdata);
        mapreduced__task__v1__from_task__free_unpacked(m, NULL);
        return p->fd >= 0;
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        Process *p = userdata;

        while (read_message(p))
                ;
}

static bool is_ours(pid_t pid, void *userdata)
{
        const TaskPool *pool = userdata;

        for (guint i = 0; i < pool->processes->len; i++)
                if (((const Process *) pool->processes->pdata[i])->pid == pid)
                        return true;
        return false;
}

static void on_orphans(void *userdata)
{
        TaskPool *pool = userdata;

        if (orphans_kill(is_ours, pool) > 0)
                loop_timer_start(pool->orphans, ORPHANS_USEC);
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
        g_autofree char *how = describe_end(si);
        Process *p = userdata;
        TaskPool *pool = p->pool;

        /* What it said before it died still counts: a Done may be among it. */
        while (p->fd >= 0 && read_message(p))
                ;
        p->pid = 0;
        if (si->si_code != CLD_EXITED)
                loop_timer_start(pool->orphans, 0);
        if (p->state != PROCESS_ENDING) {
                TaskSlot *slot = p->slot;

                log_debug("mr-task %s", how);
                process_end(p);
                if (slot)
                        slot->handlers.on_lost(how, cause_of_end(si), slot->userdata);
        }
        g_ptr_array_remove_fast(pool->processes, p);
        return 0;
}

static int process_watch(Process *p)
{
        TaskPool *pool = p->pool;
        int r;

        p->readable = event_new(loop_base(pool->loop), p->fd, EV_READ | EV_PERSIST, on_readable, p);
        if (!p->readable || event_add(p->readable, NULL) < 0)
                return -ENOMEM;
        r = loop_timer_new(pool->loop, on_grace_over, p, &p->grace);
        if (r < 0 || p->remote)
                return r;
        return sd_event_add_child(loop_sd_event(pool->loop), &p->child, p->pid, WEXITED, on_child,
                                  p);
}

static void process_add(Process *p)
{
        g_ptr_array_add(p->pool->processes, p);
        p->pool->living++;
}

/* One more connection, and the service manager starts one more process at its other end. */
static int process_connect(TaskPool *pool, Process **ret)
{
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        Process *p;
        int fd, r;

        (void) g_strlcpy(sa.sun_path, pool->socket, sizeof(sa.sun_path));
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
                r = -errno;
                safe_close(fd);
                return r;
        }
        p = g_new0(Process, 1);
        *p = (Process){.pool = pool, .fd = fd, .remote = true};
        r = process_watch(p);
        if (r < 0) {
                process_free(p);
                return r;
        }
        process_add(p);
        *ret = p;
        return 0;
}

/* Takes @child. */
static int process_take(TaskPool *pool, TaskProcess child, Process **ret)
{
        Process *p = g_new0(Process, 1);
        int r;

        *p = (Process){.pool = pool, .fd = child.fd, .pid = child.pid};
        r = process_watch(p);
        if (r < 0) {
                process_kill(p);
                (void) waitpid(p->pid, NULL, 0);
                process_free(p);
                return r;
        }
        process_add(p);
        *ret = p;
        return 0;
}

static int process_spawn(TaskPool *pool, Process **ret)
{
        TaskProcess child;
        int r;

        r = task_process_spawn(pool->helper, &child);
        return r < 0 ? r : process_take(pool, child, ret);
}

static int process_start(TaskPool *pool, Process **ret)
{
        return pool->socket ? process_connect(pool, ret) : process_spawn(pool, ret);
}

/* The idle process that @job_id may have; else one of another job that may make room for it. */
static Process *find_idle(TaskPool *pool, const char *job_id, Process **ret_other)
{
        Process *fresh = NULL;

        *ret_other = NULL;
        for (guint i = 0; i < pool->processes->len; i++) {
                Process *p = pool->processes->pdata[i];

                if (p->fd < 0)
                        continue;
                if (p->state == PROCESS_FRESH)
                        fresh = p;
                if (p->state != PROCESS_WARM)
                        continue;
                if (g_str_equal(p->job_id, job_id))
                        return p;
                *ret_other = p;
        }
        return fresh;
}

static int take_process(TaskPool *pool, const char *job_id, Process **ret)
{
        Process *other;

        *ret = find_idle(pool, job_id, &other);
        if (*ret)
                return 0;
        if (pool->living >= pool->slots && other)
                process_end(other);
        return process_start(pool, ret);
}

static void grant(TaskPool *pool, TaskSlot *s)
{
        Process *p;
        int r;

        g_queue_unlink(&pool->queue, &s->link);
        s->queued = false;

        r = take_process(pool, s->job_id, &p);
        if (r < 0) {
                s->handlers.on_unavailable(r, s->userdata);
                return;
        }
        if (!p->job_id)
                p->job_id = g_strdup(s->job_id);
        p->state = PROCESS_BUSY;
        p->slot = s;
        s->process = p;
        set_busy(pool, pool->busy + 1);
        s->handlers.on_granted(s->userdata);
}

static void prestart(TaskPool *pool)
{
        while (pool->living < MIN(pool->prestart, pool->slots)) {
                Process *p;
                int r;

                r = process_start(pool, &p);
                if (r < 0) {
                        log_warning_errno(r, "Failed to start %s beforehand, ignoring: %m",
                                          pool->socket ? pool->socket : pool->helper);
                        return;
                }
        }
}

static void on_dispatch(evutil_socket_t fd, short what, void *userdata)
{
        TaskPool *pool = userdata;

        while (pool->busy < pool->slots && pool->queue.head)
                grant(pool, pool->queue.head->data);
}

int task_pool_new(Loop *l, uint32_t slots, const char *socket, bool one_job,
                  void (*on_changed)(void *userdata), void *userdata, TaskPool **ret)
{
        _cleanup_free_ char *helper = NULL;
        Process *first;
        TaskPool *pool;
        int r;

        r = socket ? 0 : find_helper("mr-task", &helper);
        if (r < 0)
                return r;
        pool = g_new0(TaskPool, 1);
        *pool = (TaskPool){
                .loop = l,
                .slots = slots,
                .prestart = one_job ? PRESTART_ONE_JOB : PRESTART,
                .helper = TAKE_PTR(helper),
                .socket = g_strdup(socket),
                .processes = g_ptr_array_new_with_free_func(process_free),
                .packet = g_malloc(PACKET_MAX_BYTES),
                .on_changed = on_changed,
                .userdata = userdata,
        };
        g_queue_init(&pool->queue);
        pool->dispatch = event_new(loop_base(l), -1, 0, on_dispatch, pool);
        r = pool->dispatch ? loop_timer_new(l, on_orphans, pool, &pool->orphans) : -ENOMEM;
        if (r >= 0)
                r = orphans_adopt();
        if (r >= 0 && service_host() && service_host()->task.pid > 0)
                r = process_take(pool, service_host()->task, &first);
        if (r < 0) {
                task_pool_free(pool);
                return r;
        }
        prestart(pool);
        if (one_job)
                pool->prestart = 0;
        *ret = pool;
        return 0;
}

void task_pool_set_slots(TaskPool *pool, uint32_t slots)
{
        g_autoptr(GPtrArray) idle = g_ptr_array_new();

        pool->slots = slots;
        for (guint i = 0; i < pool->processes->len; i++) {
                Process *p = pool->processes->pdata[i];

                if (p->state == PROCESS_FRESH || p->state == PROCESS_WARM)
                        g_ptr_array_add(idle, p);
        }
        for (guint i = 0; i < idle->len && pool->living > slots; i++)
                process_end(idle->pdata[i]);
        schedule(pool);
}

/* Waits for @events, or for the end of @fd's other side, at most until @deadline_usec. */
static void await(Loop *l, int fd, short events, uint64_t deadline_usec)
{
        uint64_t now = loop_now_usec(l);
        struct pollfd p = {.fd = fd, .events = events};

        if (fd >= 0 && now < deadline_usec)
                (void) poll(&p, 1, (int) ((deadline_usec - now) / USEC_PER_MSEC));
}

/* Waits until @pid is reaped, at most until @deadline_usec; false if it lives on. */
static bool reap(Loop *l, pid_t pid, uint64_t deadline_usec)
{
        _cleanup_close_ int fd = pidfd_open(pid, 0);

        await(l, fd, POLLIN, deadline_usec);
        return waitpid(pid, NULL, WNOHANG) != 0;
}

void task_pool_end_idle(TaskPool *pool)
{
        for (guint i = 0; pool && i < pool->processes->len; i++) {
                Process *p = pool->processes->pdata[i];

                if (p->state == PROCESS_FRESH || p->state == PROCESS_WARM)
                        process_end(p);
        }
}

/* Waits for the end of @p, and kills it if it takes too long. */
static void process_reap(Process *p, uint64_t deadline_usec)
{
        Loop *l = p->pool->loop;

        if (p->remote) {
                await(l, p->fd, 0, deadline_usec);
                return;
        }
        p->child = sd_event_source_disable_unref(p->child);
        if (p->pid > 0 && !reap(l, p->pid, deadline_usec)) {
                process_kill(p);
                (void) waitpid(p->pid, NULL, 0);
        }
        p->pid = 0;
}

static void kill_orphans(TaskPool *pool)
{
        uint64_t deadline = loop_now_usec(pool->loop) + END_GRACE_USEC;

        while (orphans_kill(is_ours, pool) > 0 && loop_now_usec(pool->loop) < deadline)
                (void) poll(NULL, 0, 1);
}

void task_pool_end(TaskPool *pool)
{
        bool worked = false;
        uint64_t deadline;

        if (!pool)
                return;
        assert(!pool->queue.head && pool->busy == 0);

        deadline = loop_now_usec(pool->loop) + END_GRACE_USEC;
        for (guint i = 0; i < pool->processes->len; i++)
                process_close_link(pool->processes->pdata[i]);
        for (guint i = 0; i < pool->processes->len; i++) {
                Process *p = pool->processes->pdata[i];

                if (!p->worked)
                        continue;
                process_reap(p, deadline);
                worked = true;
        }
        if (worked)
                kill_orphans(pool);
}

TaskPool *task_pool_free(TaskPool *pool)
{
        uint64_t deadline;

        if (!pool)
                return NULL;
        task_pool_end(pool);
        deadline = loop_now_usec(pool->loop) + END_GRACE_USEC;
        for (guint i = 0; i < pool->processes->len; i++)
                process_reap(pool->processes->pdata[i], deadline);
        kill_orphans(pool);
        g_ptr_array_unref(pool->processes);
        loop_timer_free(pool->orphans);
        if (pool->dispatch)
                event_free(pool->dispatch);
        free(pool->helper);
        g_free(pool->socket);
        g_free(pool->packet);
        g_free(pool);
        return NULL;
}

uint32_t task_pool_busy(const TaskPool *pool)
{
        return pool->busy;
}

void task_pool_forget_job(TaskPool *pool, const char *job_id)
{
        for (guint i = 0; i < pool->processes->len; i++) {
                Process *p = pool->processes->pdata[i];

                if (p->state == PROCESS_WARM && g_str_equal(p->job_id, job_id))
                        process_end(p);
        }
        prestart(pool);
}

TaskSlot *task_slot_request(TaskPool *pool, const char *job_id, const TaskSlotHandlers *handlers,
                            void *userdata)
{
        TaskSlot *s = g_new0(TaskSlot, 1);

        *s = (TaskSlot){
                .pool = pool,
                .job_id = g_strdup(job_id),
                .handlers = *handlers,
                .userdata = userdata,
                .queued = true,
        };
        s->link.data = s;
        g_queue_push_tail_link(&pool->queue, &s->link);
        schedule(pool);
        return s;
}

int task_slot_send(TaskSlot *s, const Mapreduced__Task__V1__ToTask *message, const int *fds,
                   size_t fd_count)
{
        size_t size = mapreduced__task__v1__to_task__get_packed_size(message);
        g_autofree uint8_t *data = NULL;
        int r;

        if (!s->process || s->process->fd < 0)
                return -EPIPE;
        if (size > PACKET_MAX_BYTES)
                return -EMSGSIZE;
        data = g_malloc(size);
        mapreduced__task__v1__to_task__pack(message, data);
        r = packet_send(s->process->fd, data, size, fds, fd_count);
        return r == -ECONNRESET ? -EPIPE : r;
}

static TaskSlot *slot_free(TaskSlot *s)
{
        if (s->queued)
                g_queue_unlink(&s->pool->queue, &s->link);
        g_free(s->job_id);
        g_free(s);
        return NULL;
}

TaskSlot *task_slot_release(TaskSlot *s)
{
        Process *p;

        if (!s)
                return NULL;
        p = s->process;
        if (p && p->fd < 0)
                process_end(p);
        else if (p) {
                p->state = PROCESS_WARM;
                p->slot = NULL;
                set_busy(p->pool, p->pool->busy - 1);
                schedule(p->pool);
        }
        return slot_free(s);
}

TaskSlot *task_slot_kill(TaskSlot *s)
{
        if (!s)
                return NULL;
        if (s->process)
                process_end(s->process);
        return slot_free(s);
}
