/*
 * org.freedesktop.timesync1 — see bus-timesync1.h.
 */
#include <arpa/inet.h>
#include <math.h>

#include "platform/bus.h"
#include "timesyncd-lite/bus-timesync1.h"

#define OBJECT_PATH "/org/freedesktop/timesync1"
#define INTERFACE "org.freedesktop.timesync1.Manager"
#define NTP_VERSION 4
#define NTP_MODE_SERVER 4
#define NTP_PRECISION (-20) /* log2 s: what our times are told in here */
#define PPM_UNIT 65536.0    /* as in adjtimex(2) */

static const TimeSource *selected_source(const Manager *m)
{
        const Remote *r = manager_selected(m);

        return r ? keeper_server(m->keeper, r->number) : NULL;
}

/* As timesyncd shows its servers: without what is the same for all. */
static char *host_of(const char *address)
{
        const char *colon = strrchr(address, ':');

        if (g_str_has_prefix(address, "unix:") || !colon)
                return g_strdup(address);
        if (address[0] == '[')
                return g_strndup(address + 1, (size_t) (colon - address) - 2);
        return g_strndup(address, (size_t) (colon - address));
}

static int property_get_servers(sd_bus *bus, const char *path, const char *interface,
                                const char *property, sd_bus_message *reply, void *userdata,
                                sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        bool is_ours = g_str_equal(property, "SystemNTPServers");
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (size_t i = 0; is_ours && i < KEEPER_SERVERS_MAX && r >= 0; i++)
                if (m->remotes[i])
                        r = sd_bus_message_append(reply, "s", m->remotes[i]->address);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int property_get_name(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *ret_error)
{
        const Remote *r = manager_selected(userdata);

        return sd_bus_message_append(reply, "s", r ? r->address : "");
}

/* Known only where the server was named by it. */
static int property_get_address(sd_bus *bus, const char *path, const char *interface,
                                const char *property, sd_bus_message *reply, void *userdata,
                                sd_bus_error *ret_error)
{
        const Remote *remote = manager_selected(userdata);
        g_autofree char *host = host_of(remote ? remote->address : "");
        uint8_t bytes[sizeof(struct in6_addr)];
        size_t size = 0;
        int family = AF_UNSPEC, r;

        if (inet_pton(AF_INET, host, bytes) == 1) {
                family = AF_INET;
                size = sizeof(struct in_addr);
        } else if (inet_pton(AF_INET6, host, bytes) == 1) {
                family = AF_INET6;
                size = sizeof(struct in6_addr);
        }
        r = sd_bus_message_open_container(reply, 'r', "iay");
        if (r >= 0)
                r = sd_bus_message_append(reply, "i", family);
        if (r >= 0)
                r = sd_bus_message_append_array(reply, 'y', bytes, size);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int property_get_usec(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        const SourceConfig *c = &m->conf.keeper.source;
        const TimeSource *s = selected_source(m);
        int64_t ns;

        if (g_str_equal(property, "RootDistanceMaxUSec"))
                ns = c->distance_limit_ns;
        else if (g_str_equal(property, "PollIntervalMinUSec"))
                ns = poll_ns(c->min_poll);
        else if (g_str_equal(property, "PollIntervalMaxUSec"))
                ns = poll_ns(c->max_poll);
        else
                ns = poll_ns(s ? s->poll : c->min_poll);
        return sd_bus_message_append(reply, "t", (uint64_t) (ns / NSEC_PER_USEC));
}

static uint64_t to_usec(int64_t ns)
{
        return ns <= 0 ? 0 : (uint64_t) (ns / NSEC_PER_USEC);
}

static uint32_t ntp_leap(const TimeSource *s)
{
        if (!s || !s->claim.synchronised)
                return 3;
        return (uint32_t) s->claim.leap;
}

static int append_message(sd_bus_message *reply, const Remote *remote, const TimeSource *s)
{
        static const RemoteSample none = {};
        const RemoteSample *last = remote && remote->sample_count > 0
                                           ? remote_sample(remote, remote->sample_count - 1)
                                           : &none;
        uint32_t reference = remote ? htonl((uint32_t) remote->path.ids[1]) : 0;
        int r;

        r = sd_bus_message_append(reply, "uuuuitt", ntp_leap(s), NTP_VERSION, NTP_MODE_SERVER,
                                  s ? s->claim.stratum : 0, NTP_PRECISION,
                                  s ? to_usec(s->claim.root_delay_ns) : 0,
                                  s ? to_usec(s->claim.root_dispersion_ns) : 0);
        if (r >= 0)
                r = sd_bus_message_append_array(reply, 'y', &reference, sizeof(reference));
        if (r >= 0)
                r = sd_bus_message_append(reply, "ttttbtt", to_usec(last->t[0]),
                                          to_usec(last->t[1]), to_usec(last->t[2]),
                                          to_usec(last->t[3]),
                                          (int) (last->outcome != TIME_ACCEPTED),
                                          remote ? remote->answers : UINT64_C(0),
                                          s ? to_usec((int64_t) s->line.ahead_sd_ns) : UINT64_C(0));
        return r;
}

static int property_get_message(sd_bus *bus, const char *path, const char *interface,
                                const char *property, sd_bus_message *reply, void *userdata,
                                sd_bus_error *ret_error)
{
        int r = sd_bus_message_open_container(reply, 'r', "uuuuittayttttbtt");

        if (r >= 0)
                r = append_message(reply, manager_selected(userdata), selected_source(userdata));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int property_get_frequency(sd_bus *bus, const char *path, const char *interface,
                                  const char *property, sd_bus_message *reply, void *userdata,
                                  sd_bus_error *ret_error)
{
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "x",
                                     (int64_t) lround(m->last.frequency_ppm * PPM_UNIT));
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("LinkNTPServers", "as", property_get_servers, 0, 0),
        SD_BUS_PROPERTY("SystemNTPServers", "as", property_get_servers, 0, 0),
        SD_BUS_PROPERTY("RuntimeNTPServers", "as", property_get_servers, 0, 0),
        SD_BUS_PROPERTY("FallbackNTPServers", "as", property_get_servers, 0, 0),
        SD_BUS_PROPERTY("ServerName", "s", property_get_name, 0, 0),
        SD_BUS_PROPERTY("ServerAddress", "(iay)", property_get_address, 0, 0),
        SD_BUS_PROPERTY("RootDistanceMaxUSec", "t", property_get_usec, 0, 0),
        SD_BUS_PROPERTY("PollIntervalMinUSec", "t", property_get_usec, 0, 0),
        SD_BUS_PROPERTY("PollIntervalMaxUSec", "t", property_get_usec, 0, 0),
        SD_BUS_PROPERTY("PollIntervalUSec", "t", property_get_usec, 0, 0),
        SD_BUS_PROPERTY("NTPMessage", "(uuuuittayttttbtt)", property_get_message, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Frequency", "x", property_get_frequency, 0, 0),
        SD_BUS_VTABLE_END,
};

int bus_timesync1_add(sd_bus *bus, Manager *m)
{
        return sd_bus_add_object_vtable(bus, NULL, OBJECT_PATH, INTERFACE, vtable, m);
}

void bus_timesync1_changed(sd_bus *bus)
{
        (void) sd_bus_emit_properties_changed(bus, OBJECT_PATH, INTERFACE, "NTPMessage", NULL);
}
