// DuckDB doing what a job does: duckdb.mjs JOB DATA-FOLDER OUTPUT-FILE
import { DuckDBInstance } from '@duckdb/node-api';

const [, , job, data, output] = process.argv;
const columns = names => `{${names.map(n => `'${n}': 'VARCHAR'`).join(', ')}}`;
const read = (path, names, extra = '') =>
        `read_csv('${path}', columns=${columns(names)}, delim='\t', quote='', escape='', header=false, auto_detect=false${extra})`;
const queries = {
        index: `COPY (SELECT word, string_agg(DISTINCT filename, chr(9)) FROM
                      (SELECT unnest(string_split(line, ' ')) AS word, filename FROM ${read(data + '/files/*', ['line'], ', filename=true, max_line_size=10000000')})
                      WHERE word <> '' GROUP BY word) TO '${output}' (DELIMITER '\t', HEADER false, QUOTE '')`,
        join: `COPY (SELECT l.k, l.a, l.b, r.c FROM ${read(data + '/tables/left.tsv', ['k', 'a', 'b'])} l
                     JOIN ${read(data + '/tables/right.tsv', ['k', 'c'])} r USING (k)) TO '${output}' (DELIMITER '\t', HEADER false, QUOTE '')`,
};
const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
const connection = await instance.connect();
await connection.run(queries[job]);
process.exit(0);
