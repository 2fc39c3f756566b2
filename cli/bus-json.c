/*
 * Values of the bus as JSON — see bus-json.h.
 */
#include "cli/bus-json.h"

#define DEPTH_MAX 32 /* as in the D-Bus specification */

static int read_any(sd_bus_message *m, unsigned depth, json_t **ret);

static int read_basic(sd_bus_message *m, char type, json_t **ret)
{
        union {
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                const char *s;
        } v;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        switch (type) {
        case SD_BUS_TYPE_BYTE:
                *ret = json_integer(v.y);
                return 0;
        case SD_BUS_TYPE_BOOLEAN:
                *ret = json_boolean(v.b);
                return 0;
        case SD_BUS_TYPE_INT16:
                *ret = json_integer(v.n);
                return 0;
        case SD_BUS_TYPE_UINT16:
                *ret = json_integer(v.q);
                return 0;
        case SD_BUS_TYPE_INT32:
                *ret = json_integer(v.i);
                return 0;
        case SD_BUS_TYPE_UINT32:
                *ret = json_integer(v.u);
                return 0;
        case SD_BUS_TYPE_INT64:
                *ret = json_integer(v.x);
                return 0;
        case SD_BUS_TYPE_UINT64:
                *ret = json_integer((json_int_t) v.t);
                return 0;
        case SD_BUS_TYPE_DOUBLE:
                *ret = json_real(v.d);
                return 0;
        case SD_BUS_TYPE_UNIX_FD:
                *ret = json_null();
                return 0;
        default: /* a string, a path, a signature */
                *ret = json_string(v.s);
                return 0;
        }
}

static int read_entry(sd_bus_message *m, unsigned depth, json_t *object)
{
        json_t *value = NULL;
        const char *key;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r >= 0)
                r = read_any(m, depth, &value);
        if (r < 0)
                return r;
        (void) json_object_set_new(object, key, value);
        return 0;
}

/* Arrays and structures are arrays, dictionaries with text keys are objects, a variant is what is
 * in it. */
static int read_container(sd_bus_message *m, char type, const char *contents, unsigned depth,
                          json_t **ret)
{
        bool dict = type == 'a' && g_str_has_prefix(contents, "{s");
        g_autofree char *entry = dict ? g_strndup(contents + 1, strlen(contents) - 2) : NULL;
        json_t *list = dict ? json_object() : json_array();
        int r;

        if (type == 'v')
                json_decref(TAKE_PTR(list));
        r = sd_bus_message_enter_container(m, type, contents);
        if (r >= 0 && type == 'v')
                r = read_any(m, depth + 1, ret);
        while (r >= 0 && type != 'v' && (r = sd_bus_message_at_end(m, false)) == 0) {
                json_t *value = NULL;

                if (dict) {
                        r = sd_bus_message_enter_container(m, 'e', entry);
                        if (r < 0)
                                break;
                        r = read_entry(m, depth + 1, list);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(m);
                        continue;
                }
                r = read_any(m, depth + 1, &value);
                if (r >= 0)
                        (void) json_array_append_new(list, value);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r >= 0 && list)
                *ret = list;
        else if (list)
                json_decref(list);
        return r < 0 ? r : 0;
}

static int read_any(sd_bus_message *m, unsigned depth, json_t **ret)
{
        const char *contents;
        char type;
        int r;

        if (depth > DEPTH_MAX)
                return -ELOOP;
        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        if (contents) {
                g_autofree char *copy = g_strdup(contents); /* it moves with the message */

                return read_container(m, type, copy, depth, ret);
        }
        return read_basic(m, type, ret);
}

int bus_read_dict_as_json(sd_bus_message *m, json_t **ret)
{
        json_t *object;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r <= 0)
                return r;
        object = json_object();
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, 0, object);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        break;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0) {
                json_decref(object);
                return r;
        }
        *ret = object;
        return 1;
}
