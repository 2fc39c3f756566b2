// ClickHouse embedded (chdb) doing what a job does: clickhouse.mjs JOB DATA-FOLDER TEXT OUTPUT-FILE
import { existsSync, unlinkSync } from 'node:fs';
import * as chdb from 'chdb';

const [, , job, data, text, output] = process.argv;
const lines = path => `file('${path}', 'LineAsString', 'line String')`;
const queries = {
        'word count': `SELECT w, count() FROM (SELECT arrayJoin(splitByWhitespace(line)) AS w FROM ${lines(text)}) GROUP BY w`,
        sort: `SELECT line FROM ${lines(data + '/records')} ORDER BY line`,
        'regex count': `SELECT count() FROM ${lines(data + '/log')} WHERE match(line, '" 50[0-9] ')`,
        'bytes per client': `SELECT f[1], sum(toUInt64OrZero(f[10])) FROM (SELECT splitByChar(' ', line) AS f FROM ${lines(data + '/log')}) GROUP BY f[1]`,
        'inverted index': `SELECT w, arrayStringConcat(groupUniqArray(_file), '\\t') FROM
                (SELECT arrayJoin(splitByChar(' ', line)) AS w, _file FROM ${lines(data + '/files/*')}) WHERE w <> '' GROUP BY w`,
        join: `SELECT l.k, l.a, l.b, r.c FROM file('${data}/tables/left.tsv', 'TSV', 'k String, a String, b String') AS l
                JOIN file('${data}/tables/right.tsv', 'TSV', 'k String, c String') AS r ON l.k = r.k`,
};
if (existsSync(output))
        unlinkSync(output);
chdb.query(`INSERT INTO FUNCTION file('${output}', 'TSVRaw') ${queries[job]} SETTINGS max_threads=2, max_memory_usage=14000000000`, 'TSVRaw');
process.exit(existsSync(output) ? 0 : 1);
