/*
 * Apps — see app.h.
 */
#include "mr-task/app.h"

static const App *const apps[] = {
        &app_count, &app_distinct, &app_grep, &app_index, &app_join,      &app_max,
        &app_min,   &app_sort,     &app_sum,  &app_top,   &app_wordcount,
};

const App *app_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(apps); i++)
                if (g_str_equal(apps[i]->plugin.name, name))
                        return apps[i];
        return NULL;
}
