package config
import ("testing";"os")
func TestSmoke(t *testing.T){
 c,err:=Parse("edge.yaml",[]byte("version: 1\nlisteners: [{address: ':8080'}]\norigins: {app: {endpoints: [{url: http://a}]}}\nroutes: [{origin: app, match: {}, cache: {ttl: {\"404\": 10s}}}]\n"))
 if err!=nil {t.Fatal(err)}
 y,_:=c.YAML(); t.Logf("%s",y)
 _=os.Stdout
}
