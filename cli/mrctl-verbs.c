/*
 * mrctl with all of its verbs — see mrctl.c, which loads it.
 *
 * This file reads the command line and calls the verb; each verb is a file, mrctl-VERB.c.
 * Everything goes over D-Bus: mrctl opens no network connection and reads no state of the daemons.
 */
#include "config.h"
#include "cli/all-verbs.h"
#include "cli/print.h"
#include "cli/verbs.h"

static const char help_text[] =
        "mrctl [OPTIONS…] VERB …\n"
        "\n"
        "Run MapReduce jobs, and see what became of them.\n"
        "\n"
        "Jobs:\n"
        "  run [INPUT…] [-- ARG…]      Submit a job, wait for it, print its result\n"
        "  submit [INPUT…] [-- ARG…]   Submit a job and print its id\n"
        "  wait JOB…                   Wait until jobs are over\n"
        "  watch JOB                   Show what happens to a job until it is over\n"
        "  cat JOB                     Print the result of a job that is done\n"
        "  cancel JOB…                 Stop jobs\n"
        "  retry JOB…                  Submit failed or cancelled jobs again\n"
        "\n"
        "State:\n"
        "  list                        Jobs, the newest first\n"
        "  history                     Jobs that are over\n"
        "  status JOB…                 One job, and what happened to it\n"
        "  why JOB                     Why it failed or does not get on, and the way out\n"
        "  logs JOB [TASK[/ATTEMPT]]   What it, its tasks and the daemons about it wrote\n"
        "  tasks JOB                   Its map and reduce tasks\n"
        "  timeline JOB [TASK]         When and where each attempt ran\n"
        "  explain JOB [TASK]          What each task was made from\n"
        "  counters JOB [TASK]         What it counted\n"
        "\n"
        "Cluster:\n"
        "  workers                     The workers of the cluster\n"
        "  drain WORKER…               Give workers no new task\n"
        "  resume WORKER…              Give them tasks again\n"
        "  apps                        The built-in programs and their parameters\n"
        "\n"
        "Hosts:\n"
        "  cluster token               Print a word that lets one new host in\n"
        "  cluster join TOKEN|-        Make this host a worker of that cluster\n"
        "  cluster list                Certificates, and until when they are good\n"
        "  cluster revoke WORKER       Put a worker out, at once\n"
        "  cluster forget-tokens       Make all unused tokens worthless\n"
        "  cluster ca                  The cluster's CA, and whether another takes its place\n"
        "  cluster rotate-ca           Make a new CA; nobody has to join again\n"
        "  cluster drop-ca             Drop the old one now\n"
        "\n"
        "This host's clock:\n"
        "  time [status]               Who keeps it, and how well it is known\n"
        "  time servers                The servers asked, and why each is followed or not\n"
        "  time samples [SERVER]       The last exchanges with one\n"
        "  time sync                   Ask all servers now\n"
        "  time step                   Step what is left of the offset, also backwards\n"
        "  time set-servers [SERVER…]  Follow these, until the configuration is read again\n"
        "  time query SERVER           Ask a server the time once; changes nothing\n"
        "\n"
        "Options:\n"
        "  -h --help                   Show this help\n"
        "     --version                Show the version\n"
        "     --bus=BUS                system (default), session, or a D-Bus address\n"
        "  -H --host=[USER@]HOST       Over ssh, the master of another host\n"
        "     --json=short|pretty|off  Print JSON; names are those of the bus properties\n"
        "  -q --quiet                  No progress, no remarks\n"
        "     --no-legend              No headings and no totals\n"
        "     --no-pager               Do not pipe long tables into a pager\n"
        "\n"
        "Options of run and submit (NAME.job among the inputs is a job file):\n"
        "     --print-job              Print the job as a job file instead of running it\n"
        "     --input=PATH|URI         A file, a directory, a glob; may be repeated\n"
        "     --output=DIR             Write the result there: missing or empty\n"
        "     --app=NAME|FILE.so       A built-in program or a plugin; its arguments follow --\n"
        "     --mapper=COMMAND         Commands as in Hadoop Streaming; a first word such as\n"
        "     --combiner=COMMAND         ./map.py that names a file here is shipped with the job\n"
        "     --reducer=COMMAND\n"
        "     --reducer-app=NAME       Instead: count, distinct, max, min or sum, of a command's lines\n"
        "     --reduces=N              Reduce tasks, and parts of the result: 1 to 10000;\n"
        "                                0: the maps' output is the result\n"
        "     --map-field-separator=S  Between the fields of the mapper's lines (TAB)\n"
        "     --map-key-fields=N       How many of them are the key (1)\n"
        "     --partition-key-fields=N How many of these choose the reduce (all)\n"
        "     --sort-key-fields=LIST   In whose order keys come, as 2nr,1 (the whole key, by bytes)\n"
        "     --reduce-field-separator=S  Between key and value of the reducer's input (TAB)\n"
        "     --split-size=SIZE        Input of one map task: 4K to 1T\n"
        "     --file=FILE[#NAME]       Ship a file to where the commands run; may be repeated\n"
        "     --archive=FILE[#DIR]     Ship an archive, and unpack it in a directory there\n"
        "     --env=NAME=VALUE         Set a variable for the commands; may be repeated\n"
        "     --name=NAME              What the job is called\n"
        "     --ignore-exit-status=yes|no   Whether a command that exits with 1 to 125 has done well (no)\n"
        "     --max-attempts=N         Attempts of a task before the job fails: 1 to 100\n"
        "     --skip-bad-records=N     Do without records the mapper fails on, N of each map\n"
        "     --task-timeout=TIME      Silence after which an attempt is ended; 0: never\n"
        "     --reuse=auto|yes|no      Take outputs of earlier maps of the same input and program\n"
        "     --intermediate=PLACE     local, or stable:PATH: map outputs in a shared directory\n"
        "     --intermediate-compression=none|lz4|zstd   Of map outputs (none)\n"
        "     --output-compression=none|gzip|bzip2|zstd|lz4|xz   Of the result's parts (none)\n"
        "     --input-format=lines|whole   What a record is: a line, or a whole file\n"
        "     --memory-limit=SIZE      What the commands of a task may use together\n"
        "     --backups=yes|no         Second attempts of tasks that fall far behind (yes)\n"
        "     --priority=PRIORITY      Among your own jobs: very-low, low, normal, high, very-high\n"
        "\n"
        "Options of lists and logs:\n"
        "     --state=STATE,…          Only jobs or tasks in these states\n"
        "     --name=GLOB              history: only jobs of that name\n"
        "     --user=USER              history: only those of a user, by name or number\n"
        "     --since=TIME             history, logs: '2026-11-22 20:15', yesterday, '2h ago'\n"
        "     --until=TIME\n"
        "  -n --lines=N                history, logs: the newest N; tasks: the first\n"
        "  -f --follow                 logs: go on until the job is over\n"
        "  -D --directory=DIR          logs: read the journal files in DIR\n"
        "\n"
        "Options of cluster:\n"
        "     --ttl=SEC                token: how long it is good: 1s to 7d (default: 1h)\n"
        "     --advertise=HOST         token: by which name or address the new host reaches this one\n"
        "     --spool=DIR              join: keep the keys there, and start no service\n"
        "\n"
        "Options of run:\n"
        "     --local                  On this machine alone, without any service\n"
        "     --slots=N                With --local: tasks at a time (default: one a CPU)\n"
        "\n"
        "Exit status: 0 success, 1 the job failed or something else did, 2 bad usage,\n"
        "130 interrupted, 143 terminated. See mrctl(1).\n";

int mrctl_main(int argc, char **argv)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_error_ Error e = {};
        int r;

        if (argc > 1 && g_str_equal(argv[1], "__complete"))
                return print_words(argc, argv);
        r = arguments_parse(argc, argv, &a, &e);
        if (r < 0) {
                (void) complain("%s", error_message(&e, r));
                return EXIT_USAGE;
        }
        if (a.help) {
                pager_open(&a);
                (void) fputs(help_text, stdout);
                return print_finish();
        }
        if (a.version) {
                (void) printf("mrctl %s\n", MR_VERSION);
                return print_finish();
        }
        return verb_call(verb_find(a.verb), &a);
}
