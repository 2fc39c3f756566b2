/*
 * Backup — see backup.h.
 */
#include <math.h>

#include "jobs/backup.h"

typedef struct NodePace {
        double score, sec;  /* of its attempts, added up; in mean tasks */
        uint32_t overtaken; /* attempts */
} NodePace;

struct BackupPace {
        double rates[BACKUP_RATES_MAX]; /* of the last ones; a ring */
        uint32_t count, next;
        GHashTable *nodes; /* worker → NodePace *, owned */
};

static double seconds(uint64_t usec)
{
        return (double) usec / USEC_PER_SEC;
}

double backup_rate(double score, uint64_t elapsed_usec)
{
        return elapsed_usec > 0 ? score / seconds(elapsed_usec) : 0;
}

double backup_time_left_sec(double score, uint64_t elapsed_usec)
{
        double rate = backup_rate(score, elapsed_usec);

        return rate > 0 ? (1 - score) / rate : INFINITY;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static double sorted_percentile(const double *values, size_t count, double percent)
{
        double place, below;
        size_t i;

        if (count == 0)
                return NAN;
        place = percent / 100 * (double) (count - 1);
        below = floor(place);
        i = (size_t) below;
        if (i + 1 >= count)
                return values[count - 1];
        return values[i] + (place - below) * (values[i + 1] - values[i]);
}

double backup_percentile(double *values, size_t count, double percent)
{
        if (count > 0)
                qsort(values, count, sizeof(*values), compare);
        return sorted_percentile(values, count, percent);
}

BackupPace *backup_pace_new(void)
{
        BackupPace *p = g_new0(BackupPace, 1);

        p->nodes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        return p;
}

BackupPace *backup_pace_free(BackupPace *p)
{
        if (!p)
                return NULL;
        g_hash_table_unref(p->nodes);
        g_free(p);
        return NULL;
}

static NodePace *add_to_node(GHashTable *nodes, uint32_t worker, double score,
                             uint64_t elapsed_usec)
{
        NodePace *n = g_hash_table_lookup(nodes, GUINT_TO_POINTER(worker));

        if (!n) {
                n = g_new0(NodePace, 1);
                g_hash_table_insert(nodes, GUINT_TO_POINTER(worker), n);
        }
        n->score += score;
        n->sec += seconds(elapsed_usec);
        return n;
}

/* In mean tasks. */
static double weight(double size)
{
        return CLAMP(size, 1.0, BACKUP_SIZE_MAX);
}

void backup_pace_committed(BackupPace *p, uint32_t worker, uint64_t elapsed_usec, double size)
{
        elapsed_usec = MAX(elapsed_usec, 1);
        p->rates[p->next] = backup_rate(weight(size), elapsed_usec);
        p->next = (p->next + 1) % BACKUP_RATES_MAX;
        p->count = MIN(p->count + 1, BACKUP_RATES_MAX);
        (void) add_to_node(p->nodes, worker, weight(size), elapsed_usec);
}

void backup_pace_overtaken(BackupPace *p, uint32_t worker, uint64_t elapsed_usec, double size)
{
        add_to_node(p->nodes, worker, weight(size), elapsed_usec)->overtaken++;
}

static GHashTable *copy_nodes(GHashTable *from)
{
        GHashTable *to = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        GHashTableIter iter;
        gpointer key, value;

        g_hash_table_iter_init(&iter, from);
        while (g_hash_table_iter_next(&iter, &key, &value))
                g_hash_table_insert(to, key, g_memdup2(value, sizeof(NodePace)));
        return to;
}

static double node_rate(const NodePace *n)
{
        return n->sec > 0 ? n->score / n->sec : 0;
}

static void view_nodes(BackupView *v)
{
        g_autofree double *rates = g_new(double, g_hash_table_size(v->nodes) + 1);
        GHashTableIter iter;
        size_t count = 0;
        gpointer n;

        g_hash_table_iter_init(&iter, v->nodes);
        while (g_hash_table_iter_next(&iter, NULL, &n))
                rates[count++] = node_rate(n);
        v->slow_node_rate = backup_percentile(rates, count, BACKUP_SLOW_PERCENTILE);
        v->median_node_rate = sorted_percentile(rates, count, 50);
}

void backup_view_init(BackupView *v, const BackupPace *p, const BackupAttempt *attempts,
                      size_t count)
{
        g_autofree double *rates = g_new(double, p->count + count + 1);
        double median;

        *v = (BackupView){.nodes = copy_nodes(p->nodes)};
        memcpy(rates, p->rates, p->count * sizeof(*rates));
        for (size_t i = 0; i < count; i++) {
                const BackupAttempt *a = &attempts[i];
                double score = a->score * weight(a->size);

                rates[p->count + i] = backup_rate(score, a->elapsed_usec);
                (void) add_to_node(v->nodes, a->worker, score, a->elapsed_usec);
        }
        v->slow_task_rate = backup_percentile(rates, p->count + count, BACKUP_SLOW_PERCENTILE);
        median = sorted_percentile(rates, p->count + count, 50);
        v->typical_sec = median > 0 ? 1 / median : INFINITY;
        view_nodes(v);
}

void backup_view_done(BackupView *v)
{
        g_hash_table_unref(v->nodes);
}

double backup_deserved_sec(const BackupView *v, const BackupAttempt *a)
{
        double elapsed_sec = seconds(a->elapsed_usec), left_sec = 0, tasks = weight(a->size),
               typical_sec = v->typical_sec * tasks;

        if (!a->single || a->elapsed_usec < BACKUP_MIN_USEC || elapsed_sec < typical_sec / 4)
                return 0;
        if (backup_rate(a->score * tasks, a->elapsed_usec) > v->slow_task_rate)
                return 0;
        if (a->score > 0)
                left_sec = backup_time_left_sec(a->score, a->elapsed_usec);
        left_sec = MAX(left_sec, elapsed_sec - typical_sec);
        return left_sec > typical_sec ? left_sec : 0;
}

bool backup_is_slow_node(const BackupView *v, uint32_t worker)
{
        const NodePace *n = g_hash_table_lookup(v->nodes, GUINT_TO_POINTER(worker));

        return n && node_rate(n) < v->slow_node_rate;
}

bool backup_is_proven_slow(const BackupView *v, uint32_t worker)
{
        const NodePace *n = g_hash_table_lookup(v->nodes, GUINT_TO_POINTER(worker));
        double sec, median_sec;

        if (!n || n->overtaken == 0 || node_rate(n) <= 0 || v->median_node_rate <= 0)
                return false;
        sec = 1 / node_rate(n);
        median_sec = 1 / v->median_node_rate;
        return sec >= BACKUP_SLOW_NODE_TIMES * median_sec &&
               sec - median_sec >= seconds(BACKUP_MIN_USEC);
}
