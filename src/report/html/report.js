// Filters the story, copies the command, zooms the timeline by dragging (a double click shows all again).
const all=(s,e=document)=>[...e.querySelectorAll(s)];
for(const b of all('[data-copy]'))b.onclick=()=>navigator.clipboard&&navigator.clipboard.writeText(b.dataset.copy).then(()=>{b.textContent='copied'});
const f=document.getElementById('filter');
if(f)f.oninput=()=>{const w=f.value.toLowerCase().split(/\s+/).filter(Boolean);let n=0;for(const r of all('.story tr')){const t=r.textContent.toLowerCase();const on=w.every(x=>t.includes(x));r.hidden=!on;n+=on}document.getElementById('shown').textContent=w.length?n+' lines':''};
const s=document.querySelector('.timeline svg');
if(s){const full=s.getAttribute('viewBox').split(' ').map(Number),left=+s.dataset.left;let from=null;
const at=e=>{const v=s.viewBox.baseVal,r=s.getBoundingClientRect();return v.x+(e.clientX-r.left)/r.width*v.width};
const box=document.createElementNS('http://www.w3.org/2000/svg','rect');box.setAttribute('fill','#3b74c9');box.setAttribute('opacity','.2');s.append(box);
const shape=(a,b)=>{box.setAttribute('x',Math.min(a,b));box.setAttribute('width',Math.abs(b-a));box.setAttribute('y',0);box.setAttribute('height',full[3])};
s.onpointerdown=e=>{from=at(e);s.setPointerCapture(e.pointerId)};
s.onpointermove=e=>{if(from!==null)shape(from,at(e))};
s.onpointerup=e=>{const a=Math.min(from,at(e)),b=Math.max(from,at(e));from=null;shape(0,0);if(b-a>4){s.setAttribute('preserveAspectRatio','none');s.setAttribute('viewBox',[Math.max(a,left*0),0,b-a,full[3]].join(' '))}};
s.ondblclick=()=>{s.setAttribute('viewBox',full.join(' '))}}
