/*
 * Bus helpers — see bus.h.
 */
#include <fcntl.h>
#include <stdarg.h>

#include "base/parse.h"
#include "base/text.h"
#include "platform/bus.h"

static int bus_from_fd(int fd, bool server, sd_bus **ret)
{
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r < 0) {
                safe_close(fd);
                return r;
        }
        r = sd_bus_set_fd(bus, fd, fd);
        if (r < 0) {
                safe_close(fd);
                return r;
        }
        if (server) {
                sd_id128_t id;

                r = sd_id128_randomize(&id);
                if (r >= 0)
                        r = sd_bus_set_server(bus, true, id);
                if (r < 0)
                        return r;
        }
        (void) sd_bus_negotiate_creds(bus, true, SD_BUS_CREDS_EUID | SD_BUS_CREDS_PID);
        r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

static int bus_from_address(const char *address, sd_bus **ret)
{
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                *ret = TAKE_PTR(bus);
        return r;
}

static int open_any(const char *address, sd_bus **ret, Error *e)
{
        int r;

        if (g_str_equal(address, "system"))
                r = sd_bus_open_system(ret);
        else if (g_str_equal(address, "session"))
                r = sd_bus_open_user(ret);
        else if (strchr(address, ':'))
                r = bus_from_address(address, ret);
        else
                return error_setf(
                        e, EINVAL,
                        "not a bus: %s (system, session, none, or a D-Bus address such as unix:path=…)",
                        address);
        return r < 0 ? error_setf(e, r, "cannot connect to the bus %s: %s", address, error_text(r))
                     : 0;
}

int bus_open(Loop *l, const char *address, sd_bus **ret, Error *e)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        bool named = true;
        int r;

        if (g_str_equal(address, "none")) {
                *ret = NULL;
                return 0;
        }

        if (g_str_has_prefix(address, "fd:")) {
                uint32_t fd;

                if (parse_u32_range(address + 3, 3, 1023, &fd) < 0 || fcntl((int) fd, F_GETFD) < 0)
                        return error_setf(e, EBADF, "not an inherited descriptor: %s", address);
                (void) fcntl((int) fd, F_SETFD, FD_CLOEXEC);
                r = bus_from_fd((int) fd, true, &bus);
                if (r < 0)
                        return error_setf(e, r, "cannot serve the bus on %s: %s", address,
                                          error_text(r));
                named = false;
        } else {
                r = open_any(address, &bus, e);
                if (r < 0)
                        return r;
        }

        r = sd_bus_attach_event(bus, loop_sd_event(l), SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return error_setf(e, r, "cannot attach the bus to the loop: %s", error_text(r));
        *ret = TAKE_PTR(bus);
        return named;
}

int bus_open_client(const char *address, sd_bus **ret, Error *e)
{
        return open_any(address, ret, e);
}

int bus_open_peer_client(int fd, sd_bus **ret)
{
        return bus_from_fd(fd, false, ret);
}

int bus_claim_name(sd_bus *bus, const char *name, Error *e)
{
        int r = sd_bus_request_name(bus, name, 0);

        if (r == -EEXIST || r == -EALREADY)
                return error_setf(e, r, "the bus name %s is taken: is another instance running?",
                                  name);
        if (r < 0)
                return error_setf(e, r, "cannot claim the bus name %s: %s", name, error_text(r));
        return 0;
}

int bus_error_setf(sd_bus_error *ret_error, const char *name, const char *format, ...)
{
        va_list ap;
        int r;

        va_start(ap, format);
        r = sd_bus_error_setfv(ret_error, name, format, ap);
        va_end(ap);
        return r;
}
