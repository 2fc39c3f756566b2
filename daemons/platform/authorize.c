/*
 * Authorization — see authorize.h.
 *
 * The second call of the handler is made by putting the message back into the bus's own queue
 * (sd_bus_enqueue_for_read), as systemd's daemons do. An answer that its handler does not come for,
 * since the object is gone by then, is dropped as soon as the loop has nothing better to do.
 */
#include <unistd.h>

#include "base/error.h"
#include "platform/authorize.h"

/* A person needs time for a password; whoever does not answer at all must not be waited for for
 * ever. */
#define POLKIT_TIMEOUT_USEC (300 * USEC_PER_SEC)
#define POLKIT_ALLOW_USER_INTERACTION 1U /* CheckAuthorizationFlags of polkit's D-Bus interface */

typedef struct Question {
        Authorizer *authorizer;
        sd_bus_message *message; /* the one that was put aside */
        char *action;
        sd_bus_slot *call;
        sd_event_source *forget;
        bool answered;
        int result; /* 1, or negative errno with @error */
        sd_bus_error error;
} Question;

struct Authorizer {
        Loop *loop;
        sd_bus *bus;
        bool ask_polkit;
        GHashTable *questions; /* sd_bus_message * → Question * */
};

static void question_free(gpointer data)
{
        Question *q = data;

        sd_bus_slot_unref(q->call);
        sd_event_source_disable_unref(q->forget);
        sd_bus_error_free(&q->error);
        sd_bus_message_unref(q->message);
        g_free(q->action);
        g_free(q);
}

Authorizer *authorizer_new(Loop *l, sd_bus *bus, bool ask_polkit)
{
        Authorizer *a = g_new(Authorizer, 1);

        *a = (Authorizer){
                .loop = l,
                .bus = sd_bus_ref(bus),
                .ask_polkit = ask_polkit,
                .questions = g_hash_table_new_full(NULL, NULL, NULL, question_free),
        };
        return a;
}

Authorizer *authorizer_free(Authorizer *a)
{
        if (!a)
                return NULL;
        g_hash_table_unref(a->questions);
        sd_bus_unref(a->bus);
        g_free(a);
        return NULL;
}

int bus_sender_uid(sd_bus_message *message, uint32_t *ret)
{
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        uid_t uid;
        int r;

        r = sd_bus_query_sender_creds(message, SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &uid);
        if (r >= 0)
                *ret = uid;
        return r;
}

/* "(bba{ss})": authorized, a challenge could help, details. */
static int read_answer(sd_bus_message *reply, const char *action, sd_bus_error *ret_error)
{
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        int authorized, challenge, r;

        if (e)
                return sd_bus_error_setf(
                        ret_error, SD_BUS_ERROR_ACCESS_DENIED,
                        "Not allowed: polkit, which would have to allow %s, gave no "
                        "answer (%s); root needs none",
                        action, e->message ? e->message : e->name);
        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r < 0)
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Not allowed: polkit's answer makes no sense");
        if (authorized)
                return 1;
        if (challenge)
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                         "Not allowed without a password: see pkaction --verbose "
                                         "--action-id %s for who is",
                                         action);
        return sd_bus_error_setf(ret_error, SD_BUS_ERROR_ACCESS_DENIED,
                                 "Not allowed: see pkaction --verbose --action-id %s for who is",
                                 action);
}

static int on_forget(sd_event_source *s, void *userdata)
{
        Question *q = userdata;

        g_hash_table_remove(q->authorizer->questions, q->message);
        return 0;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
        Question *q = userdata;
        Authorizer *a = q->authorizer;
        int r;

        q->result = read_answer(reply, q->action, &q->error);
        q->answered = true;
        q->call = sd_bus_slot_unref(q->call);

        r = sd_bus_message_rewind(q->message, true);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(a->bus, q->message);
        if (r >= 0)
                r = sd_event_add_defer(loop_sd_event(a->loop), &q->forget, on_forget, q);
        if (r >= 0)
                r = sd_event_source_set_priority(q->forget, SD_EVENT_PRIORITY_IDLE);
        if (r < 0) {
                (void) sd_bus_reply_method_errnof(q->message, r, "Cannot go on with the call: %s",
                                                  error_text(r));
                g_hash_table_remove(a->questions, q->message);
        }
        return 1;
}

/* The sender as polkit's subject. Its unique name cannot be taken over by another, as a pid can. */
static int ask(Authorizer *a, Question *q, bool interactive)
{
        return sd_bus_call_method_async(
                a->bus, &q->call, "org.freedesktop.PolicyKit1",
                "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority",
                "CheckAuthorization", on_answer, q, "(sa{sv})sa{ss}us", "system-bus-name", 1,
                "name", "s", sd_bus_message_get_sender(q->message), q->action, 0,
                interactive ? POLKIT_ALLOW_USER_INTERACTION : 0, "");
}

static unsigned count_of_sender(const Authorizer *a, const char *sender)
{
        GHashTableIter iter;
        gpointer message;
        unsigned count = 0;

        g_hash_table_iter_init(&iter, a->questions);
        while (g_hash_table_iter_next(&iter, &message, NULL))
                count += g_strcmp0(sd_bus_message_get_sender(message), sender) == 0;
        return count;
}

static int put_aside(Authorizer *a, sd_bus_message *message, const char *action,
                     sd_bus_error *ret_error)
{
        bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
        Question *q;
        int r;

        if (g_hash_table_size(a->questions) >= AUTHORIZER_WAITING_MAX ||
            count_of_sender(a, sd_bus_message_get_sender(message)) >= AUTHORIZER_WAITING_OF_ONE_MAX)
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                         "Too many calls wait for polkit: try again when some are "
                                         "answered");
        q = g_new0(Question, 1);
        q->authorizer = a;
        q->message = sd_bus_message_ref(message);
        q->action = g_strdup(action);
        g_hash_table_insert(a->questions, message, q);
        r = ask(a, q, interactive);
        if (r < 0) {
                g_hash_table_remove(a->questions, message);
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Not allowed: polkit cannot be asked: %s", error_text(r));
        }
        return 0;
}

static int take_answer(Authorizer *a, Question *q, sd_bus_error *ret_error)
{
        int r = q->result;

        if (r < 0)
                (void) sd_bus_error_copy(ret_error, &q->error);
        g_hash_table_remove(a->questions, q->message);
        return r;
}

int authorizer_check(Authorizer *a, sd_bus_message *message, const char *action, uint32_t owner,
                     sd_bus_error *ret_error)
{
        Question *q = g_hash_table_lookup(a->questions, message);
        uint32_t uid;
        int r;

        if (q && q->answered && g_str_equal(q->action, action))
                return take_answer(a, q, ret_error);

        r = bus_sender_uid(message, &uid);
        if (r < 0)
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Not allowed: the bus does not say who asks: %s",
                                         error_text(r));
        if (uid == 0 || uid == geteuid() || (owner != UID_NOBODY_OWNS && uid == owner))
                return 1;
        if (!a->ask_polkit)
                return sd_bus_error_setf(
                        ret_error, SD_BUS_ERROR_ACCESS_DENIED,
                        "Not allowed for user %u: on this bus only user %u and root "
                        "may",
                        uid, (unsigned) geteuid());
        return put_aside(a, message, action, ret_error);
}
