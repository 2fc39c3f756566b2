/*
 * A job as a worker sees it — see worker-job.h.
 */
#include "mr-workerd/worker-job.h"

int job_get(Manager *m, const char *job_id, Job **ret)
{
        Job *j = g_hash_table_lookup(m->jobs, job_id);
        int r;

        if (!j) {
                r = spool_job_make(m->spool, job_id);
                if (r < 0)
                        return r;
                j = g_new0(Job, 1);
                j->manager = m;
                j->id = g_strdup(job_id);
                j->files = job_files_new(j);
                j->watch = job_watch_new(j);
                g_hash_table_insert(m->jobs, j->id, j);
        }
        *ret = j;
        return 0;
}

void job_free(gpointer job)
{
        Job *j = job;

        job_files_free(j->files);
        job_watch_free(j->watch);
        g_free(j->id);
        g_free(j);
}
