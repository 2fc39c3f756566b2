/*
 * The master as a client sees it — see master.h.
 */
#include <stdarg.h>

#include "cli/master.h"

bool master_is_lost(int r)
{
        return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE;
}

static int explain_lost_host(const char *host, int r, Error *e)
{
        return error_setf(e, r,
                          "the connection to %s was lost: does 'ssh %s' work, and is "
                          "systemd-stdio-bridge there?",
                          host, host);
}

/* Over ssh, as systemctl does: systemd-stdio-bridge is at the other end. */
static int connect_host(Master *m, const char *host, Error *e)
{
        int r;

        r = sd_bus_open_system_remote(&m->bus, host);
        if (r == -EINVAL)
                return error_setf(e, r, "--host must be [USER@]HOST, not '%s'", host);
        if (master_is_lost(r)) /* ssh has ended already */
                return explain_lost_host(host, r, e);
        if (r < 0)
                return error_setf(e, r, "cannot reach %s by ssh: %s", host, error_text(r));
        return 0;
}

int master_connect(Master *m, const Arguments *a, Error *e)
{
        const char *address = a->bus;
        _cleanup_error_ Error why = {};
        int r;

        *m = (Master){.name = MASTER_NAME, .host = a->host};
        if (a->host)
                return connect_host(m, a->host, e);
        address = address ? address : "system";
        if (g_str_equal(address, "none"))
                return error_setf(e, EINVAL, "--bus=none: mrctl speaks to the master over a bus");
        if (!*address)
                return error_setf(e, EINVAL, "--bus must be system, session or a D-Bus address");
        r = bus_open_client(address, &m->bus, &why);
        if (r == -ENOMEDIUM)
                return error_setf(e, r,
                                  "cannot find the session bus: neither $DBUS_SESSION_BUS_ADDRESS "
                                  "nor $XDG_RUNTIME_DIR is set");
        if (r < 0)
                return error_setf(e, r, "%s%s", error_message(&why, r),
                                  r == -EINVAL ? "" : " ('mrctl --local run' needs no bus)");
        (void) sd_bus_set_allow_interactive_authorization(m->bus, true);
        return 0;
}

int master_connect_fd(Master *m, int fd, Error *e)
{
        int r;

        *m = (Master){};
        r = bus_open_peer_client(fd, &m->bus);
        return r < 0 ? error_setf(e, r, "cannot talk to our mr-masterd: %s", error_text(r)) : 0;
}

void master_done(Master *m)
{
        m->bus = sd_bus_flush_close_unref(m->bus);
}

int master_explain(const Master *m, const sd_bus_error *error, int r, Error *e)
{
        const char *host = m ? m->host : NULL;

        if (sd_bus_error_has_names(error, SD_BUS_ERROR_SERVICE_UNKNOWN,
                                   SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return error_setf(e, r,
                                  "no mr-masterd on this bus (systemctl start mr-masterd; or "
                                  "'mrctl --local run', which needs none)");
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
                return error_setf(e, r, "not allowed: %s", error->message);
        if (master_is_lost(r) && host)
                return explain_lost_host(host, r, e);
        if (master_is_lost(r))
                return error_setf(e, r,
                                  "the connection to the master was lost, or the bus does not "
                                  "admit user %u",
                                  (unsigned) geteuid());
        if (error && error->message && *error->message)
                return error_setf(e, r, "%s", error->message);
        return error_setf(e, r, "the call to the master failed: %s", error_text(r));
}

int master_bad_reply(int r, Error *e)
{
        return error_setf(e, r,
                          "the master's reply cannot be understood: is it of another version?");
}

int master_call(Master *m, const char *path, const char *interface, const char *method,
                sd_bus_message **ret, Error *e, const char *types, ...)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(m->bus, &call, m->name, path, interface, method);
        if (r >= 0 && types) {
                va_list ap;

                va_start(ap, types);
                r = sd_bus_message_appendv(call, types, ap);
                va_end(ap);
        }
        return r < 0 ? master_explain(m, NULL, r, e) : master_send(m, call, ret, e);
}

int master_send(Master *m, sd_bus_message *call, sd_bus_message **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call(m->bus, call, 0, &error, &reply);
        if (r < 0)
                return master_explain(m, &error, r, e);
        if (ret)
                *ret = TAKE_PTR(reply);
        return 0;
}

int master_find(Master *m, const char *get, const char *name, char **ret_path, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        int r;

        r = master_call(m, MASTER_PATH, MASTER_INTERFACE, get, &reply, e, "s", name);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return master_bad_reply(r, e);
        *ret_path = strdup(path);
        return *ret_path ? 0 : -ENOMEM;
}
