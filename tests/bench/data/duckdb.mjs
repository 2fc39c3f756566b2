// DuckDB doing what a job does: duckdb.mjs JOB DATA-FOLDER TEXT OUTPUT-FILE
import { DuckDBInstance } from '@duckdb/node-api';

const [, , job, data, text, output] = process.argv;
const columns = names => `{${names.map(n => `'${n}': 'VARCHAR'`).join(', ')}}`;
const read = (path, names, delim = '\t', extra = '') =>
        `read_csv('${path}', columns=${columns(names)}, delim='${delim}', quote='', escape='', header=false, auto_detect=false${extra})`;
const lines = (path, extra = '') => read(path, ['line'], '\x01', `, strict_mode=false, max_line_size=10000000${extra}`);
// White space as one blank: quicker than a split by an expression.
const blanks = `translate(line, chr(9) || chr(11) || chr(12) || chr(13), '    ')`;
const queries = {
        'word count': `SELECT w, count(*) FROM (SELECT unnest(string_split(${blanks}, ' ')) AS w FROM ${lines(text)}) WHERE w <> '' GROUP BY w`,
        sort: `SELECT line FROM ${lines(data + '/records')} ORDER BY line`,
        'regex count': `SELECT count(*) FROM ${lines(data + '/log')} WHERE regexp_matches(line, '" 50[0-9] ')`,
        'bytes per client': `SELECT split_part(line, ' ', 1) AS client, sum(coalesce(try_cast(split_part(line, ' ', 10) AS BIGINT), 0))
                FROM ${lines(data + '/log')} GROUP BY client`,
        'inverted index': `SELECT w, string_agg(DISTINCT filename, chr(9)) FROM
                (SELECT unnest(string_split(line, ' ')) AS w, filename FROM ${lines(data + '/files/*', ', filename=true')}) WHERE w <> '' GROUP BY w`,
        join: `SELECT l.k, l.a, l.b, r.c FROM ${read(data + '/tables/left.tsv', ['k', 'a', 'b'])} l
                JOIN ${read(data + '/tables/right.tsv', ['k', 'c'])} r USING (k)`,
};
const instance = await DuckDBInstance.create(':memory:', { threads: '2', memory_limit: '12GB' });
const connection = await instance.connect();
await connection.run(`COPY (${queries[job]}) TO '${output}' (DELIMITER '\t', HEADER false, QUOTE '', ESCAPE '')`);
process.exit(0);
