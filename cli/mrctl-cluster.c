/*
 * mrctl cluster — which hosts belong to it, and by which CA: token, join, list, revoke, rotate-ca.
 *
 * The master's host makes tokens and revokes; a new host joins. Joining speaks to the network,
 * which mrctl never does: it is mr-workerd's work, whose keys they are, and mrctl starts that, and
 * the service after it.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "base/fs.h"
#include "cli/bus-json.h"
#include "cli/master.h"
#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "platform/spawn.h"

#define CLUSTER_INTERFACE "org.mapreduced.Master1.Cluster"
#define WORKER_UNIT "mr-workerd.service"

/* ---- token
 * -------------------------------------------------------------------------------------- */

static int print_token(const Arguments *a, const char *token, uint64_t expires_usec)
{
        g_autofree char *until = NULL;

        if (a->json != JSON_OFF)
                return print_json(json_pack("{s:s, s:I}", "Token", token, "ExpiresUSec",
                                            (json_int_t) expires_usec),
                                  a->json);
        (void) printf("%s\n", token);
        if (!a->quiet) {
                until = format_time(expires_usec);
                (void) fprintf(stderr,
                               "On the new host, type: mrctl cluster join TOKEN\n"
                               "It lets one host in, once, until %s.\n",
                               until);
        }
        return print_finish();
}

static int make_token(const Arguments *a, Master *m)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        uint64_t expires_usec;
        const char *token;
        int r;

        r = master_call(m, MASTER_PATH, CLUSTER_INTERFACE, "CreateToken", &reply, &e, "ts",
                        a->ttl_usec, a->advertise ?: "");
        if (r >= 0) {
                r = sd_bus_message_read(reply, "st", &token, &expires_usec);
                if (r < 0)
                        r = master_bad_reply(r, &e);
        }
        return r < 0 ? complain("%s", error_message(&e, r)) : print_token(a, token, expires_usec);
}

static int forget_tokens(const Arguments *a, Master *m)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        uint32_t count;
        int r;

        r = master_call(m, MASTER_PATH, CLUSTER_INTERFACE, "ForgetTokens", &reply, &e, NULL);
        if (r >= 0) {
                r = sd_bus_message_read(reply, "u", &count);
                if (r < 0)
                        r = master_bad_reply(r, &e);
        }
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (!a->quiet)
                (void) fprintf(stderr, "%u tokens are worth nothing any more.\n", count);
        return EXIT_SUCCESS;
}

/* ---- ca, rotate-ca, drop-ca
 * --------------------------------------------------------------------- */

/* All that the interface shows, as JSON. */
static int get_ca(Master *m, json_t **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = master_call(m, MASTER_PATH, "org.freedesktop.DBus.Properties", "GetAll", &reply, e, "s",
                        CLUSTER_INTERFACE);
        if (r < 0)
                return r;
        r = bus_read_dict_as_json(reply, ret);
        return r > 0 ? 0 : master_bad_reply(r, e);
}

static const char *text_of(const json_t *ca, const char *key)
{
        return json_string_value(json_object_get(ca, key)) ?: "";
}

static void print_pending(const json_t *ca)
{
        bool spreading = g_str_equal(text_of(ca, "CARotation"), "spreading");
        const json_t *pending = json_object_get(ca, "CAPending");

        (void) printf("%s\n", spreading
                                      ? "Another CA is to take its place. Not told of it yet:"
                                      : "Another CA issues in its place. Without a certificate of "
                                        "that yet:");
        for (size_t i = 0; i < json_array_size(pending); i++)
                (void) printf("  %s\n", json_string_value(json_array_get(pending, i)));
        if (json_array_size(pending) == 0)
                (void) printf("  nobody\n");
}

static int show_ca(const Arguments *a, Master *m)
{
        g_autofree char *until = NULL;
        _cleanup_error_ Error e = {};
        json_t *ca = NULL;
        int r;

        r = get_ca(m, &ca, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (a->json != JSON_OFF)
                return print_json(ca, a->json);
        until = format_time((uint64_t) json_integer_value(json_object_get(ca, "CAExpiresUSec")));
        (void) printf("CA %s\nuntil %s\n", text_of(ca, "CAFingerprint"), until);
        if (!g_str_equal(text_of(ca, "CARotation"), "none"))
                print_pending(ca);
        json_decref(ca);
        return print_finish();
}

static int rotate_ca(const Arguments *a, Master *m)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        const char *fingerprint;
        int r;

        r = master_call(m, MASTER_PATH, CLUSTER_INTERFACE, "RotateCA", &reply, &e, NULL);
        if (r >= 0) {
                r = sd_bus_message_read(reply, "s", &fingerprint);
                if (r < 0)
                        r = master_bad_reply(r, &e);
        }
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (a->json != JSON_OFF)
                return print_json(json_pack("{s:s}", "Fingerprint", fingerprint), a->json);
        (void) printf("%s\n", fingerprint);
        if (!a->quiet)
                (void) fprintf(
                        stderr,
                        "Workers take certificates of this new CA by themselves, and the old one "
                        "goes when all have.\n"
                        "Whom it waits for: mrctl cluster ca. Not to wait: mrctl cluster "
                        "drop-ca.\n");
        return print_finish();
}

static int drop_ca(const Arguments *a, Master *m)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        json_t *names = json_array();
        const char *name;
        int r;

        r = master_call(m, MASTER_PATH, CLUSTER_INTERFACE, "DropCA", &reply, &e, NULL);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "s");
        while (r > 0) {
                r = sd_bus_message_read(reply, "s", &name);
                if (r > 0)
                        (void) json_array_append_new(names, json_string(name));
        }
        if (r < 0) {
                json_decref(names);
                return complain("%s", error_message(&e, r));
        }
        if (a->json != JSON_OFF)
                return print_json(json_pack("{s:o}", "Workers", names), a->json);
        for (size_t i = 0; i < json_array_size(names); i++)
                (void) printf("%s must join again\n", json_string_value(json_array_get(names, i)));
        json_decref(names);
        return print_finish();
}
/* ---- list
 * --------------------------------------------------------------------------------------- */

enum { NAME, ROLE, STATE, UNTIL, ID, SERIAL, SINCE, REVOKED, COLUMNS };

static const Column columns[COLUMNS] = {
        [NAME] = {"NAME", "Name", .truncate = true},
        [ROLE] = {"ROLE", "Role"},
        [STATE] = {"STATE", "State"},
        [UNTIL] = {"UNTIL", "NotAfterUSec"},
        [ID] = {"WORKER", "Id"},
        [SERIAL] = {NULL, "Serial"},
        [SINCE] = {NULL, "NotBeforeUSec"},
        [REVOKED] = {NULL, "RevokedUSec"},
};

static int add_certificate(Table *t, sd_bus_message *m)
{
        const char *serial, *role, *id, *name, *state;
        uint64_t since, until, revoked;
        int r;

        r = sd_bus_message_read(m, "(sssssttt)", &serial, &role, &id, &name, &state, &since, &until,
                                &revoked);
        if (r <= 0)
                return r;
        table_add_row(t);
        table_set_text(t, NAME, name);
        table_set_text(t, ROLE, role);
        table_set_state(t, STATE, state);
        table_set(t, UNTIL, format_time(until), json_integer((json_int_t) until));
        table_set_text(t, ID, id);
        table_set_text(t, SERIAL, serial);
        table_set(t, SINCE, NULL, json_integer((json_int_t) since));
        table_set(t, REVOKED, NULL, json_integer((json_int_t) revoked));
        return 1;
}

static int list_certificates(const Arguments *a, Master *m)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "certificates", a);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        int r;

        r = master_call(m, MASTER_PATH, CLUSTER_INTERFACE, "ListCertificates", &reply, &e, NULL);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        r = sd_bus_message_enter_container(reply, 'a', "(sssssttt)");
        while (r > 0)
                r = add_certificate(t, reply);
        if (r < 0)
                return complain("%s", error_message(&e, master_bad_reply(r, &e)));
        return table_print(t);
}

/* ---- revoke
 * ------------------------------------------------------------------------------------- */

static int revoke_worker(const Arguments *a, Master *m)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_error_ Error e = {};
        const char *id;
        uint32_t count;
        int r;

        r = master_call(m, MASTER_PATH, CLUSTER_INTERFACE, "RevokeWorker", &reply, &e, "s",
                        a->operands->pdata[1]);
        if (r >= 0) {
                r = sd_bus_message_read(reply, "su", &id, &count);
                if (r < 0)
                        r = master_bad_reply(r, &e);
        }
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (!a->quiet)
                (void) fprintf(stderr, "Worker %s is out of the cluster.\n", id);
        return EXIT_SUCCESS;
}

/* ---- join
 * --------------------------------------------------------------------------------------- */

/* The token goes by a pipe: what stands in a command line, every user can read. */
static int feed(const char *token, int *ret_fd, Error *e)
{
        int fds[2], r;

        if (g_str_equal(token, "-")) {
                *ret_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
                return *ret_fd < 0 ? error_setf(e, errno, "cannot use standard input: %s",
                                                error_text(errno))
                                   : 0;
        }
        if (strlen(token) > 2048)
                return error_setf(e, EINVAL, "this is no token: it is too long");
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_setf(e, errno, "cannot make a pipe: %s", error_text(errno));
        r = write_full(fds[1], token, strlen(token)); /* a pipe holds more */
        safe_close(fds[1]);
        if (r < 0) {
                safe_close(fds[0]);
                return error_setf(e, r, "cannot write to a pipe: %s", error_text(r));
        }
        *ret_fd = fds[0];
        return 0;
}

static int start_joiner(const Arguments *a, int token_fd, pid_t *ret, Error *e)
{
        const SpawnFd fds[] = {{token_fd, STDIN_FILENO},
                               {STDOUT_FILENO, STDOUT_FILENO},
                               {STDERR_FILENO, STDERR_FILENO}};
        const SpawnOptions o = {.fds = fds, .fd_count = ELEMENTSOF(fds), .cwd_fd = -1};
        g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *path = NULL;
        int r;

        r = find_helper("mr-workerd", &path);
        if (r < 0)
                return error_setf(e, r, "cannot find mr-workerd: install the package mr-worker");
        g_ptr_array_add(argv, g_strdup("mr-workerd"));
        g_ptr_array_add(argv, g_strdup("--join=-"));
        if (a->spool)
                g_ptr_array_add(argv, g_strconcat("--spool=", a->spool, NULL));
        if (a->job.name)
                g_ptr_array_add(argv, g_strconcat("--name=", a->job.name, NULL));
        g_ptr_array_add(argv, NULL);
        r = spawn(path, (char **) argv->pdata, &o, ret);
        return r < 0 ? error_setf(e, r, "cannot start %s: %s", path, error_text(r)) : 0;
}

static int systemd_call(sd_bus *bus, const char *method, Error *e, const char *types, ...)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        va_list ap;
        int r;

        va_start(ap, types);
        r = sd_bus_call_methodv(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                "org.freedesktop.systemd1.Manager", method, &error, NULL, types,
                                ap);
        va_end(ap);
        return r < 0 ? error_setf(e, r, "%s", error.message ?: error_text(r)) : 0;
}

/* As `systemctl enable` and `systemctl restart` do: it may be running, idle, since it was
 * installed. */
static int start_service(Error *e)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = bus_open_client("system", &bus, e);
        if (r >= 0)
                r = systemd_call(bus, "EnableUnitFiles", e, "asbb", 1, WORKER_UNIT, false, false);
        if (r >= 0)
                r = systemd_call(bus, "Reload", e, "");
        if (r >= 0)
                r = systemd_call(bus, "RestartUnit", e, "ss", WORKER_UNIT, "replace");
        return r;
}

static int join(const Arguments *a)
{
        _cleanup_close_ int token_fd = -EBADF;
        _cleanup_error_ Error e = {};
        int status, r;
        pid_t pid;

        r = feed(a->operands->pdata[1], &token_fd, &e);
        if (r >= 0)
                r = start_joiner(a, token_fd, &pid, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return EXIT_JOB_FAILED; /* it has said why */
        if (a->spool)
                return EXIT_SUCCESS;
        if (sd_booted() <= 0) {
                (void) printf("Start the worker with: mr-workerd\n");
                return print_finish();
        }
        r = start_service(&e);
        if (r < 0)
                return complain(
                        "this host is in the cluster, but its worker cannot be started: %s; "
                        "type systemctl enable --now " WORKER_UNIT,
                        error_message(&e, r));
        (void) printf("Started " WORKER_UNIT ".\n");
        return print_finish();
}

/* ---- All of it
 * ---------------------------------------------------------------------------------- */

typedef struct Subverb {
        const char *name;
        unsigned operands; /* with its own name */
        int (*run)(const Arguments *a, Master *m);
        const char *takes;
} Subverb;

static const Subverb subverbs[] = {
        {"token", 1, make_token, "no argument"},
        {"forget-tokens", 1, forget_tokens, "no argument"},
        {"list", 1, list_certificates, "no argument"},
        {"ca", 1, show_ca, "no argument"},
        {"rotate-ca", 1, rotate_ca, "no argument"},
        {"drop-ca", 1, drop_ca, "no argument"},
        {"revoke", 2, revoke_worker, "one worker, by its name or id"},
        {"join", 2, NULL, "one token, or - to read it from standard input"},
};

int verb_cluster(const Arguments *a)
{
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        const Subverb *s = NULL;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(subverbs); i++)
                if (g_str_equal(a->operands->pdata[0], subverbs[i].name))
                        s = &subverbs[i];
        if (!s) {
                (void) complain("cluster has no verb %s: it has token, join, list, revoke, "
                                "forget-tokens, ca, rotate-ca and drop-ca",
                                (const char *) a->operands->pdata[0]);
                return EXIT_USAGE;
        }
        if (a->operands->len != s->operands) {
                (void) complain("cluster %s takes %s", s->name, s->takes);
                return EXIT_USAGE;
        }
        if (!s->run)
                return join(a);
        r = master_connect(&m, a, &e);
        return r < 0 ? complain("%s", error_message(&e, r)) : s->run(a, &m);
}
