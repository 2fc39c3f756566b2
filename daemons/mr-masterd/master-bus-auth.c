/*
 * Who may change something — the one gate of every changing method.
 *
 * Who owns a job does with it what it likes; for all else the actions are polkit's, see
 * platform/authorize.h.
 */
#include "mr-masterd/master-manager.h"

int bus_authorise(Manager *m, sd_bus_message *message, const char *action, const MasterJob *job,
                  sd_bus_error *ret_error)
{
        return authorizer_check(m->authorizer, message, action, job ? job->uid : UID_NOBODY_OWNS,
                                ret_error);
}
